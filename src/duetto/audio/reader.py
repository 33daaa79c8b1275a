"""A file's audio in blocks, whichever library can decode it."""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from duetto.audio import ffmpeg, libsndfile
from duetto.audio.formats import AudioInfo
from duetto.audio.waveform import check_finite
from duetto.errors import AudioError


class _Source(Protocol):
    info: AudioInfo

    def decode(self, n_samples: int) -> Generator[NDArray[Any]]:
        """Read (n, n_channels) arrays from the start; integers fill 32 bits from the left."""


class AudioReader:
    """A file's audio, block by block in the file's own numbers and in constant memory.

    Use it as a context manager. Reads WAV, RF64, W64, FLAC, AIFF, Ogg Vorbis, Opus and MP3; and
    with the extra "av" the sound of M4A, MP4, MOV, Matroska, WebM, WMA and AAC.

    Args:
        path: The file.

    Attributes:
        info: What the file says about itself.

    Raises:
        AudioError: The file is missing, unreadable, empty, cut off, no audio of these kinds, or has a sample
            rate or channel count out of range.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._open = ExitStack()
        try:
            _check_file(self.path)
            self._state = _state(self.path)
            name = ffmpeg.recognise(self.path)
            self._source: _Source = ffmpeg.Source(self.path, name) if name else libsndfile.Source(self.path)
        except OSError as error:
            raise AudioError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
        self.info = self._source.info
        if self.info.n_samples == 0:
            raise AudioError(f"{self.path} holds no samples; give a file with audio in it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def blocks(self, n_samples: int, start: int = 0, stop: int | None = None) -> Iterator[NDArray[Any]]:
        """Read samples `start` to `stop`, by default all, `n_samples` per block, the last one shorter.

        What lies before `start` is decoded and dropped, so that a part is cut to the sample in every format.

        Yields:
            (n_channels, n): int32 of depth `info.bits`, 16-bit audio being -32768 to 32767 and unsigned 8-bit
            -128 to 127; float32 for FLOAT and lossy audio; float64 for DOUBLE.

        Raises:
            AudioError: A sample is NaN or infinite, or the file is damaged, shorter than it promises, or
                changed since it was opened.
        """
        if n_samples < 1:
            raise AudioError(f"a block of {n_samples} samples cannot be read; allowed: 1 or more")
        n_read, bits = 0, self.info.bits
        with closing(self._source.decode(n_samples)) as decoded:
            self._open.callback(decoded.close)
            for samples in decoded:
                block = np.ascontiguousarray(samples.T)
                if bits is None:
                    check_finite(block, str(self.path), n_read)
                else:
                    block >>= 32 - bits
                first = max(start - n_read, 0)
                last = block.shape[1] if stop is None else min(stop - n_read, block.shape[1])
                n_read += block.shape[1]
                if first < last:
                    yield block[:, first:last]
                if stop is not None and n_read >= stop:
                    break
        self._check_unchanged()
        self._check_length(n_read, stop)

    def _check_unchanged(self) -> None:
        try:
            unchanged = _state(self.path) == self._state
        except OSError as error:
            reason = "was deleted or made unreadable while it was read"
            raise AudioError(f"{self.path} {reason}; start again with a whole copy") from error
        if not unchanged:
            raise AudioError(f"{self.path} was changed while it was read; start again when it is complete")

    def _check_length(self, n_read: int, stop: int | None) -> None:
        if n_read == 0:
            raise AudioError(f"{self.path} holds no samples that decode; give a file with audio in it")
        # MP3 and Ogg cut off anywhere are still good audio, and the length of an MP3 is a claim of its tag.
        promised = self.info.n_samples if stop is None else stop
        if n_read < promised and self.info.container not in ("MP3", "OGG"):
            raise AudioError(libsndfile.truncated(self.path, promised, n_read))


def _check_file(path: Path) -> None:
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise AudioError(f"{path} {'is a folder' if path.is_dir() else what}; give the path of an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes); give a file with audio in it")


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
