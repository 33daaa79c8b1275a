"""Measures `duetto separate` as users run it: time, processor time and peak memory of the whole command.

Usage: python benchmarks/separate.py [--minutes 4 60] [--model duetto] [--runs 3]

The songs are 44.1 kHz 16-bit stereo FLAC files, made of the bundled example song over and over, each time a
little quieter or louder. The figures of a length are the medians of its runs, its memory their maximum.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import soundfile

from duetto.cli.separate import EXAMPLE


class Run(NamedTuple):
    """Wall time and processor time (user and system, all cores) in seconds, peak resident set in MB."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[4, 60])
    parser.add_argument("--model", default="duetto")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print("| minutes | wall, s | CPU, s | x real time | peak memory, MB | memory / first |")
    print("|---|---|---|---|---|---|")
    first = None
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            song = Path(folder) / "song.flac"
            make_song(song, minutes)
            runs = [measure(separate_command(song, options.model)) for _ in range(options.runs)]
        wall, cpu = median(run.wall for run in runs), median(run.cpu for run in runs)
        memory = max(run.memory for run in runs)
        first = first or memory
        cells = f"{wall:.2f} | {cpu:.2f} | {60 * minutes / wall:.0f} | {memory:.0f} | {memory / first:.2f}"
        print(f"| {minutes:g} | {cells} |", flush=True)


def make_song(path: Path, minutes: float) -> None:
    """Write the example song again and again, at gains from -6 to 0 dB."""
    rng = np.random.default_rng(0)
    verse, sample_rate = soundfile.read(EXAMPLE, dtype="float32", always_2d=True)
    missing = round(60 * minutes * sample_rate)
    with soundfile.SoundFile(path, "w", sample_rate, verse.shape[1], subtype="PCM_16") as song:
        while missing > 0:
            song.write(verse[:missing] * 10 ** rng.uniform(-0.3, 0))
            missing -= len(verse)


def separate_command(song: Path, model: str) -> list[str]:
    out = str(song.parent)
    return [sys.executable, "-m", "duetto", "separate", str(song), "-n", model, "-o", out, "--overwrite"]


def measure(command: list[str]) -> Run:
    """Run the command in a process of its own.

    Linux counts the caller's peak memory before the command takes its place, so callers keep theirs small.
    """
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit status {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


if __name__ == "__main__":
    main()
