"""What the page draws of a track: the extremes of its waveform and its spectrogram on a logarithmic axis."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto.audio.atomic import replacing
from duetto.studio.combination import Combination, Parts

N_COLUMNS = 1200
N_BANDS = 192
LOWEST_HERTZ, HIGHEST_HERTZ = 50.0, 16_000.0
FLOOR_DB, CEILING_DB = -100.0, 0.0
_WINDOW_SECONDS = 0.093  # 4096 samples at 44.1 kHz: tells neighbouring notes apart from about 200 Hz
_FRAMES_PER_COLUMN = 2
_BLOCK_SECONDS = 10


def draw(*, parts: Parts, target: Path, progress: object) -> None:
    """Write the picture of a combination of files as JSON; see `duetto.studio.views.Picture`.

    Raises:
        AudioError: a file cannot be read.
    """
    with Combination(parts) as sound:
        info = sound.info
        waveform = _Extremes(info.n_samples)
        spectrogram = _Spectrogram(info.sample_rate, info.n_samples)
        for block in sound.blocks(_BLOCK_SECONDS * info.sample_rate):
            waveform.add(block)
            spectrogram.add(block)
    picture = {
        "sample_rate": info.sample_rate,
        "duration_seconds": info.n_samples / info.sample_rate,
        "n_columns": N_COLUMNS,
        "extremes": _text(waveform.extremes),
        "n_bands": N_BANDS,
        "lowest_hertz": LOWEST_HERTZ,
        "highest_hertz": spectrogram.highest_hertz,
        "floor_db": FLOOR_DB,
        "ceiling_db": CEILING_DB,
        "levels": _text(spectrogram.levels),
    }
    with replacing(target) as part:
        part.write_text(json.dumps(picture))


def _text(array: NDArray[np.generic]) -> str:
    return base64.b64encode(array.tobytes()).decode()


class _Extremes:
    """The smallest and the largest sample of all channels in each column, as -127 to 127."""

    def __init__(self, n_samples: int) -> None:
        self._edges = np.arange(N_COLUMNS + 1) * n_samples // N_COLUMNS
        self._low, self._high = np.zeros(N_COLUMNS), np.zeros(N_COLUMNS)
        self._n_read = 0

    def add(self, block: NDArray[np.float64]) -> None:
        stop = self._n_read + block.shape[1]
        columns = np.flatnonzero((self._edges[:-1] < stop) & (self._edges[1:] > self._n_read))
        starts = np.maximum(self._edges[columns] - self._n_read, 0)
        np.minimum.at(self._low, columns, np.minimum.reduceat(block.min(axis=0), starts))
        np.maximum.at(self._high, columns, np.maximum.reduceat(block.max(axis=0), starts))
        self._n_read = stop

    @property
    def extremes(self) -> NDArray[np.int8]:
        """(n_columns, 2), low and high."""
        extremes = np.stack([self._low, self._high], axis=1)
        return np.rint(127 * np.clip(extremes, -1, 1)).astype(np.int8)


class _Spectrogram:
    """Power in logarithmic bands, the larger of the frames of each column; a sine of full scale is 0 dB."""

    def __init__(self, sample_rate: int, n_samples: int) -> None:
        self._n_fft = 2 ** round(np.log2(_WINDOW_SECONDS * sample_rate))
        self._window = np.hanning(self._n_fft + 1)[:-1]
        self.highest_hertz = min(HIGHEST_HERTZ, sample_rate / 2)
        edges = np.geomspace(LOWEST_HERTZ, self.highest_hertz, N_BANDS + 1)
        self._bins = np.clip(np.rint(edges * self._n_fft / sample_rate).astype(int), 1, self._n_fft // 2)
        n_frames = N_COLUMNS * _FRAMES_PER_COLUMN
        centres = (np.arange(n_frames) + 0.5) * n_samples / n_frames
        self._starts = np.rint(centres).astype(
            int
        )  # in the padded signal, whose zeros begin half a frame earlier
        self._n_samples, self._n_read, self._n_done = n_samples, 0, 0
        self._tail: NDArray[np.float64] | None = None
        self._rows: list[NDArray[np.float64]] = []

    def add(self, block: NDArray[np.float64]) -> None:
        self._n_read += block.shape[1]
        half = np.zeros((len(block), self._n_fft // 2))
        pieces = [half if self._tail is None else self._tail, block]
        if self._n_read >= self._n_samples:
            pieces += [half, half]
        buffer = np.concatenate(pieces, axis=1)
        first = self._n_read - block.shape[1] + self._n_fft // 2 - pieces[0].shape[1]
        for starts in self._ready(first + buffer.shape[1]):
            self._rows.append(self._bands(buffer, starts - first))
        keep = self._starts[self._n_done] - first if self._n_done < len(self._starts) else buffer.shape[1]
        self._tail = buffer[:, max(0, min(keep, buffer.shape[1])) :]

    def _ready(self, stop: int) -> Iterator[NDArray[np.int_]]:
        """Starts of the frames that end before `stop`, a few at a time."""
        n_ready = int(np.searchsorted(self._starts + self._n_fft, stop, side="right"))
        for begin in range(self._n_done, n_ready, 64):
            yield self._starts[begin : min(begin + 64, n_ready)]
        self._n_done = max(self._n_done, n_ready)

    def _bands(self, buffer: NDArray[np.float64], starts: NDArray[np.int_]) -> NDArray[np.float64]:
        """Mean power of the channels (n_frames, n_bands)."""
        frames = buffer[:, starts[:, None] + np.arange(self._n_fft)] * self._window
        power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)
        return np.maximum.reduceat(power, self._bins[:-1], axis=1)

    @property
    def levels(self) -> NDArray[np.uint8]:
        """(n_bands, n_columns), the lowest band first: 0 is `FLOOR_DB` or less, 255 `CEILING_DB` or more."""
        power = np.concatenate(self._rows).reshape(N_COLUMNS, _FRAMES_PER_COLUMN, N_BANDS).max(axis=1)
        full_scale = (self._window.sum() / 2) ** 2
        decibels = 10 * np.log10(np.maximum(power / full_scale, 1e-20))
        levels = np.rint(255 * (decibels.T - FLOOR_DB) / (CEILING_DB - FLOOR_DB))
        return np.asarray(np.clip(levels, 0, 255), np.uint8)
