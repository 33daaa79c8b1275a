"""Measures a batch: what a song costs by number of processes, and what the batch itself costs per song.

Usage: python benchmarks/batch.py [--songs 8] [--minutes 4] [--jobs 1 2] [--listed 100000]

The songs are 44.1 kHz 16-bit stereo FLAC files, made of the bundled example song over and over. Processor
time is that of all processes, in user and system mode. The second table lists empty files and reads a
manifest of as many lines; its memory is the growth of this process.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from duetto.batch.inputs import find_songs
from duetto.batch.manifest import Manifest, Output, Record
from separate import make_song


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--songs", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--listed", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    with tempfile.TemporaryDirectory() as folder:
        separate(Path(folder), options)
    with tempfile.TemporaryDirectory() as folder:
        keep_books(Path(folder), options.listed)


def separate(folder: Path, options: argparse.Namespace) -> None:
    for k in range(options.songs):
        make_song(folder / f"{k}.flac", options.minutes)
    print("| processes | wall, s per song | CPU, s per song | x real time | MB read | MB written |")
    print("|---|---|---|---|---|---|")
    for jobs in options.jobs:
        out = folder / f"out{jobs}"
        command = [sys.executable, "-m", "duetto", "separate", f"{folder}/*.flac", "-o", str(out)]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*command, "-j", str(jobs)], check=True, capture_output=True)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        n, speed = options.songs, 60 * options.minutes * options.songs / wall
        sizes = (megabytes(folder.glob("*.flac")) / n, megabytes(out.rglob("*.flac")) / n)
        print(
            f"| {jobs} | {wall / n:.2f} | {cpu / n:.2f} | {speed:.0f} | {sizes[0]:.1f} | {sizes[1]:.1f} |",
            flush=True,
        )


def megabytes(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


def keep_books(folder: Path, n_songs: int) -> None:
    for k in range(n_songs):
        path = folder / "music" / f"{k // 1000:04}" / f"{k:08}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    print(f"\n| {n_songs} songs | s | memory, MB |\n|---|---|---|")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    songs = find_songs([folder / "music"], str(folder / "out"))
    report("listed", start, before)
    output = Output(
        path="drnn/0000/00000000/vocals.flac", n_bytes=1, fingerprint="1:1", sha256="0" * 64, peak=0.5
    )
    stems = {"vocals": output, "accompaniment": output}
    done = Record(
        song="", status="done", sha256="0" * 64, model="0" * 64, parameters={"mask": "ratio"}, outputs=stems
    )
    with Manifest(str(folder / "out")) as manifest, manifest.path.open("ab") as file:
        file.writelines(replace(done, song=song.key).to_line() for song in songs)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with Manifest(str(folder / "out")) as manifest:
        report("manifest read", start, before)
        start = time.perf_counter()
        assert all(manifest.find(song.key) for song in songs)
        report("songs found in it", start, before)


def report(what: str, start: float, before: int) -> None:
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    print(f"| {what} | {time.perf_counter() - start:.2f} | {grown:.0f} |", flush=True)


if __name__ == "__main__":
    main()
