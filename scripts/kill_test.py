"""Kills a batch at random moments, again and again, and checks what the run after that leaves.

Usage: python scripts/kill_test.py [--songs 50] [--kills 5] [--jobs 2] [--seconds 20] [--seed 0]

Every process of the batch gets SIGKILL. The last run is left alone; then every stem must be what an
undisturbed batch writes, nothing that the manifest called done may have been done again, and no temporary
file may be left.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--songs", type=int, default=50)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a song")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), options, random.Random(options.seed))


def check(folder: Path, options: argparse.Namespace, chance: random.Random) -> None:
    for k in range(options.songs):
        audio = np.random.default_rng(k).uniform(-0.5, 0.5, (round(options.seconds * RATE), 2))
        soundfile.write(folder / f"{k:03}.flac", audio, RATE)
    start = time.perf_counter()
    run(folder, "expected", options.jobs).wait()
    whole = time.perf_counter() - start
    print(
        f"undisturbed: {options.songs} songs of {options.seconds:g} s in {whole:.1f} s, "
        f"{options.jobs} processes"
    )
    known: dict[str, str] = {}
    for _ in range(options.kills):
        process = run(folder, "out", options.jobs)
        while process.poll() is None and not list((folder / "out").rglob(".duetto-*.part")):
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 1.5) * whole / options.kills)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before, known = known, done(folder / "out")
        again = sum(known[song] != line for song, line in before.items())
        strays = len(list((folder / "out").rglob(".duetto-*.part")))
        print(f"killed: {len(known)} songs done, {again} done again, {strays} temporary files left")
        if again:
            sys.exit("songs were done again")
    code = run(folder, "out", options.jobs).wait()
    again = sum(done(folder / "out")[song] != line for song, line in known.items())
    expected, written = files(folder / "expected"), files(folder / "out")
    differing = sum(written.get(path) != content for path, content in expected.items())
    extra = len(written.keys() - expected.keys())
    print(f"left alone: exit code {code}, {len(done(folder / 'out'))} songs done, {again} done again")
    print(f"{len(expected)} stems, {differing} missing or other than expected, {extra} files too many")
    if code or again or differing or extra:
        sys.exit("the batch did not survive")


def run(folder: Path, out: str, jobs: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "duetto", "separate", str(folder / "*.flac"), "-o", str(folder / out)]
    return subprocess.Popen(
        [*command, "-j", str(jobs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def done(out: Path) -> dict[str, str]:
    """The last line of each song that a manifest calls done."""
    found = {}
    for line in (out / "manifest.jsonl").read_text().splitlines() if out.exists() else []:
        try:
            values = json.loads(line)
        except ValueError:  # the line that was cut off
            continue
        if values.get("status") == "done":
            found[values["song"]] = line
    return found


def files(out: Path) -> dict[str, bytes]:
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.jsonl")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


if __name__ == "__main__":
    main()
