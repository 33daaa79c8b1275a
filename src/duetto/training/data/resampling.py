"""Tracks brought to the sample rate that a network learns at."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from duetto.errors import DatasetError
from duetto.evaluation.datasets import Track, TrackAudio


def at_sample_rate(track: Track, sample_rate: int) -> Track:
    """The track as if it had been recorded at `sample_rate` hertz, once it is loaded.

    Loading raises DatasetError if the track has a lower rate.
    """
    return replace(track, load=partial(_load, track.load, track.name, sample_rate))


def resampled(
    waveform: NDArray[np.float32], sample_rate: int, new_sample_rate: int, name: str
) -> NDArray[np.float32]:
    """Waveform (..., n_samples) at another sample rate, in hertz; `name` is for the error.

    Raises:
        DatasetError: the new rate is the higher one: a network would learn from an empty band.
    """
    if sample_rate < new_sample_rate:
        raise DatasetError(
            f"{name}: {sample_rate} Hz, the recipe trains at {new_sample_rate} Hz; set data.sample_rate"
        )
    if sample_rate == new_sample_rate:
        return waveform
    return np.asarray(resample_poly(waveform, new_sample_rate, sample_rate, axis=-1), np.float32)


def _load(load: Callable[[], TrackAudio], name: str, sample_rate: int) -> TrackAudio:
    audio = load()
    sources = {
        source: resampled(waveform, audio.sample_rate, sample_rate, name)
        for source, waveform in audio.sources.items()
    }
    return TrackAudio(sources, sample_rate)
