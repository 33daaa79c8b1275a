"""Measures streams: how late they are and how long a block takes.

Usage: python benchmarks/stream.py [--model drnn] [--seconds 60] [--block 20]

It streams the example song, over and over, on one core. "Lag" is the most that had come in and not gone out,
less the block that had just come in. A block's time is the processor's, which other programs do not lengthen;
"waited" is the slowest by the clock.
"""

import argparse
import os
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray

from duetto import Separator, load_audio
from duetto.cli.separate import EXAMPLE

Waveform = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="drnn")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--block", type=float, default=20, help="milliseconds")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"one core, load {os.getloadavg()[0]:.1f} at the start; blocks of {options.block:g} ms\n")
    print("| rate, Hz | latency, ms | lag, ms | block, ms: median | worst | waited | processor / real time |")
    print("|---|---|---|---|---|---|---|")
    for rate in (16000, 44100, 48000):
        pace(Separator(options.model), rate, options.block / 1000, options.seconds)


def pace(separator: Separator, rate: int, block_seconds: float, seconds: float) -> None:
    """Stream as quickly as it goes and note how long each block took."""
    song = np.resize(load_audio(EXAMPLE)[0], (2, round(seconds * rate)))
    block = round(block_seconds * rate)
    asked: list[tuple[float, float]] = []
    n_out = lag = 0

    def blocks() -> Iterator[Waveform]:
        nonlocal lag
        for n_in in range(0, song.shape[-1], block):
            asked.append((time.thread_time(), time.perf_counter()))
            lag = max(lag, n_in - n_out)
            yield song[:, n_in : n_in + block]

    processor = time.process_time()
    for stems in separator.stream(blocks(), rate):
        n_out += stems["vocals"].shape[-1]
    load = (time.process_time() - processor) / seconds
    processor_ms, clock_ms = 1000 * np.diff(asked, axis=0).T
    latency = 1000 * separator.latency_seconds(rate)
    figures = f"{median(processor_ms):.2f} | {processor_ms.max():.1f} | {clock_ms.max():.1f} | {load:.2f}"
    print(f"| {rate} | {latency:.1f} | {1000 * lag / rate:.1f} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
