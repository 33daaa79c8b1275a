"""Measures what the resolution-matched STFT is worth, and how to extrapolate a mask above the network's band.

Usage: python benchmarks/resolution_matched.py DATA [--model drnn] [--mixtures 16]

DATA holds the folders "vocals" and "instrumental", whose files are mixed at equal energy and brought to
44.1 kHz: every n-th vocals file of at least 8 s with every m-th recording of music. The network is one that
learned at 16 kHz. First table: vocals SI-SDR below 8 kHz when the song is resampled to the network's rate,
and when it is analysed at its own rate with frames of several lengths. Second: the full band, for several
masks above the network's.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import gcd
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from duetto import Separator, si_sdr
from duetto.dsp.stft import STFT
from duetto.separation import frontend as room

RATE = 44100
MIN_SECONDS, MAX_SECONDS = 8, 20
Waveform = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="drnn")
    parser.add_argument("--mixtures", type=int, default=16)
    options = parser.parse_args()
    separator = Separator(options.model)
    tracks = list(mixtures(options.data, options.mixtures))
    own = separator.metadata.sample_rate
    n_fft, hop_length = separator.metadata.n_fft, separator.metadata.hop_length
    matched = separator.metadata.stft.resampled(own, RATE)

    print(f"{len(tracks)} mixtures, {separator.metadata.name}: {n_fft}/{hop_length} points at {own} Hz\n")
    print(f"| analysis | vocals SI-SDR below {own / 2000:g} kHz, dB | range of differences to the first |")
    print("|---|---|---|")
    resampled = [
        si_sdr(resample(vocals, RATE, own), separator.separate(resample(mixture, RATE, own), own)["vocals"])
        for mixture, vocals in tracks
    ]
    row(f"resampled to {own} Hz", resampled, resampled)
    for size in (matched.n_fft, matched.n_fft // 64 * 64, matched.n_fft // 100 * 100):
        stft = replace(matched, n_fft=size, hop_length=size * hop_length // n_fft)
        with patch.object(STFT, "resampled", lambda *_, stft=stft: stft):
            stems = [separator.separate(mixture, RATE)["vocals"] for mixture, _ in tracks]
        scores = [
            si_sdr(resample(vocals, RATE, own), resample(stem, RATE, own))
            for stem, (_, vocals) in zip(stems, tracks, strict=True)
        ]
        row(f"native, {stft.n_fft}/{stft.hop_length} points", scores, resampled)

    print(f"\n| mask above {own / 2000:g} kHz | vocals SI-SDR, dB | range of differences to the first |")
    print("|---|---|---|")
    first: list[float] = []
    for name, above in continuations().items():
        with patch.object(room, "_above", above):
            scores = [
                si_sdr(vocals, separator.separate(mixture, RATE)["vocals"]) for mixture, vocals in tracks
            ]
        first = first or scores
        row(name, scores, first)


def row(name: str, scores: list[float], against: list[float]) -> None:
    differences = np.subtract(scores, against)
    print(
        f"| {name} | {np.mean(scores):.3f} | {differences.min():+.3f} {differences.max():+.3f} |", flush=True
    )


def continuations() -> dict[str, Callable[[Waveform], Waveform]]:
    """Extrapolations of a mask (n_bins, n_frames) above its band."""

    def by_mean(share: int) -> Callable[[Waveform], Waveform]:
        return lambda mask: np.abs(mask[-(mask.shape[0] // share) :]).mean(axis=0)

    means = {f"mean of the top 1/{share} of the band": by_mean(share) for share in (8, 16, 4)}
    return means | {"0": lambda mask: np.zeros(mask.shape[1]), "1": lambda mask: np.ones(mask.shape[1])}


def mixtures(data: Path, n_mixtures: int) -> Iterator[tuple[Waveform, Waveform]]:
    """Mixture and vocals, each (n_samples,) at 44.1 kHz."""
    voices = [p for p in sorted((data / "vocals").iterdir()) if soundfile.info(p).duration >= MIN_SECONDS]
    music = sorted((data / "instrumental").iterdir())
    for index in range(n_mixtures):
        vocals = load(voices[index * len(voices) // n_mixtures], MAX_SECONDS)
        accompaniment = load(music[index * len(music) // n_mixtures], len(vocals) / RATE)
        length = min(len(vocals), len(accompaniment))
        vocals, accompaniment = (
            0.1 * part[:length] / np.sqrt(np.mean(part[:length] ** 2)) for part in (vocals, accompaniment)
        )
        yield vocals + accompaniment, vocals


def load(path: Path, seconds: float) -> Waveform:
    """The middle of a file, one channel, at 44.1 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    n_samples = min(len(samples), round(seconds * rate))
    start = (len(samples) - n_samples) // 2
    return resample(samples[start : start + n_samples].mean(axis=1), rate, RATE)


def resample(samples: Waveform, rate: int, new_rate: int) -> Waveform:
    common = gcd(rate, new_rate)
    return resample_poly(samples, new_rate // common, rate // common).astype(np.float32)


if __name__ == "__main__":
    main()
