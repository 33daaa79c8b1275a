"""Audio at another sample rate, block by block, for formats that know few of them."""

import numpy as np
from numpy.typing import NDArray

_QUALITY = "sinc_medium"  # of libsamplerate: errors below -110 dB up to 0.8 of half the lower sample rate
_TAIL = 4096  # samples of silence that bring out what the filter still holds


class Resampler:
    """Changes the sample rate of a stream, whose time stays as it is.

    Args:
        sample_rate: Of what comes in, in Hz.
        new_rate: Of what goes out, in Hz.
        n_channels: Number of channels.
    """

    def __init__(self, sample_rate: int, new_rate: int, n_channels: int) -> None:
        import samplerate  # takes as long to import as all else that a WAV needs

        self._filter = samplerate.Resampler(_QUALITY, channels=n_channels)
        self._ratio = new_rate / sample_rate
        self._n_channels = n_channels
        self._n_read = self._n_given = 0

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples (n, n_channels) and return those that are ready."""
        self._n_read += len(samples)
        return self._filtered(samples)

    def finish(self) -> NDArray[np.float32]:
        """Return the rest: in all `n_read` x `new_rate` / `sample_rate` samples, rounded, have come out."""
        wanted, rest = (
            round(self._n_read * self._ratio) - self._n_given,
            np.empty((0, self._n_channels), "f4"),
        )
        while len(rest) < wanted:
            rest = np.concatenate([rest, self._filtered(np.zeros((_TAIL, self._n_channels), np.float32))])
        return rest[: max(wanted, 0)]

    def _filtered(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        ready: NDArray[np.float32] = self._filter.process(np.ascontiguousarray(samples), self._ratio)
        self._n_given += len(ready)
        return ready.reshape(-1, self._n_channels)
