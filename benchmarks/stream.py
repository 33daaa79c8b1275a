"""Measures streams: how late they are, how long a block takes, and how near they come to whole songs.

Usage: python benchmarks/stream.py [DATA] [--model drnn] [--seconds 60] [--block 20]

The first table streams the bundled example song, over and over, on one core. "Lag" is the most that had come
in and not come out, less the block that had just come in. A block's time is the processor's, which other
programs do not lengthen; "waited" is the slowest by the clock. With DATA, a folder as for
resolution_matched.py, the second table compares the segments of `separate`, at several overlaps, and the
stream with one pass over whole mixtures: over all, and in the worst half second of the three seconds that
follow the beginning of a segment.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from duetto import Separator, load_audio
from duetto.cli.separate import EXAMPLE
from resolution_matched import RATE, mixtures

Waveform = NDArray[np.float32]
WHOLE = 10_000.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--model", default="drnn")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--block", type=float, default=20, help="milliseconds")
    parser.add_argument("--mixtures", type=int, default=8)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"one core, load {os.getloadavg()[0]:.1f} at the start; blocks of {options.block:g} ms\n")
    print("| rate, Hz | latency, ms | lag, ms | block, ms: median | worst | waited | processor / real time |")
    print("|---|---|---|---|---|---|---|")
    for rate in (16000, 44100, 48000):
        pace(Separator(options.model), rate, options.block / 1000, options.seconds)
    if options.data:
        borders(options.model, list(mixtures(options.data, options.mixtures)))


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
    share = (time.process_time() - processor) / seconds
    processor_ms, clock_ms = 1000 * np.diff(asked, axis=0).T
    latency = 1000 * separator.latency_seconds(rate)
    figures = f"{median(processor_ms):.2f} | {processor_ms.max():.1f} | {clock_ms.max():.1f} | {share:.2f}"
    print(f"| {rate} | {latency:.1f} | {1000 * lag / rate:.1f} | {figures} |", flush=True)


def borders(model: str, tracks: list[tuple[Waveform, Waveform]]) -> None:
    """Each way of working against one pass over the whole, in dB of the vocals."""
    songs = [np.resize(mixture, 40 * RATE) for mixture, _ in tracks]
    wholes = [Separator(model, segment_seconds=WHOLE).separate(song, RATE)["vocals"] for song in songs]
    print(f"\n{len(songs)} mixtures of 40 s, vocals against one pass over the whole\n")
    print("| way | all, dB: median | worst | near a border, dB: median | worst |\n|---|---|---|---|---|")
    for overlap in (1.0, 2.0, 3.0):
        separator = Separator(model, overlap_seconds=overlap)
        found = [separator.separate(song, RATE)["vocals"] for song in songs]
        row(f"segments that share {overlap:g} s", found, wholes, separator)
    separator = Separator(model)
    blocks = (np.array_split(song[None], 2000, axis=-1) for song in songs)
    found = [
        np.concatenate([stems["vocals"][0] for stems in separator.stream(pieces, RATE)]) for pieces in blocks
    ]
    row("stream", found, wholes, separator)


def row(name: str, found: list[Waveform], wholes: list[Waveform], separator: Separator) -> None:
    stride = separator.settings.segment_seconds - separator.settings.overlap_seconds
    starts = [k * stride + half / 2 for k in range(1, 4) for half in range(6)]
    spans = [slice(round(s * RATE), round((s + 0.5) * RATE)) for s in starts if s + 0.5 <= 40]
    pairs = list(zip(found, wholes, strict=True))
    over_all = [decibels(a - b, b) for a, b in pairs]
    near = [max(decibels((a - b)[span], b[span]) for span in spans) for a, b in pairs]
    cells = f"{median(over_all):.0f} | {max(over_all):.0f} | {median(near):.0f} | {max(near):.0f}"
    print(f"| {name} | {cells} |", flush=True)


def decibels(part: Waveform, whole: Waveform) -> float:
    return float(20 * np.log10(np.linalg.norm(part) / np.linalg.norm(whole) + 1e-12))


if __name__ == "__main__":
    main()
