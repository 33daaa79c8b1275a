"""A file's audio in blocks, whichever library can decode it."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from duetto.audio import ffmpeg, libsndfile
from duetto.audio.formats import AudioInfo
from duetto.audio.input_file import AudioFile, InputFile
from duetto.audio.parts import NotDecodedError
from duetto.audio.waveform import check_finite
from duetto.errors import AudioError


class _Source(Protocol):
    info: AudioInfo

    def decode(self, n_samples: int) -> Generator[NDArray[Any]]:
        """Read (n, n_channels) arrays from the start; integers fill 32 bits from the left."""


class AudioReader:
    """A file's audio, block by block in the file's own numbers and in constant memory.

    Use it as a context manager. Reads all that libsndfile decodes: WAV, RF64, BW64, W64, FLAC, AIFF, Ogg
    Vorbis, Opus, MP3, CAF, AU and more; and with the extra "av" what FFmpeg decodes: the sound of MP4, MOV,
    Matroska, WebM, AVI and MPEG-TS, and M4A, WMA, AAC, AC-3, DTS, WavPack, Ogg FLAC and more. The content
    decides, not the name.

    Args:
        source: A path, the content of a file as bytes, or a binary file object that can seek. Such an object
            is read from its start and not closed.
        audio_track: Which sound track of a film: its number, counted from 1, or its language as the file
            states it, such as "eng". By default FFmpeg chooses.
        name: What messages call the file; by default its path, or the name of the file object.

    Attributes:
        name: As given, or the default.
        path: The path; of bytes and file objects without a name "song".
        content: What holds the file: the path or a binary file object.
        audio_track: As given.
        info: What the file says about itself.

    Raises:
        AudioError: The file is missing, unreadable, empty, cut off, not an audio file, or has a sample
            rate or channel count out of range; or it has no such sound track.
    """

    def __init__(
        self, source: AudioFile, *, audio_track: int | str | None = None, name: str | None = None
    ) -> None:
        self._file, self.audio_track = InputFile(source, name), audio_track
        self.name, self.path, self.content = self._file.name, self._file.path, self._file.content
        self._open = ExitStack()
        self._source = _decoder(self._file, audio_track)
        self.info = self._source.info
        if self.info.n_samples == 0:
            raise AudioError(f"{self.name} holds no samples; give a file with audio in it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def blocks(self, n_samples: int, start: int = 0, stop: int | None = None) -> Iterator[NDArray[Any]]:
        """Read samples `start` to `stop`, by default all, `n_samples` per block, the last one shorter.

        What lies before `start` is decoded and dropped, so that a part is cut to the sample in every format.

        Yields:
            (n_channels, n): int32 of depth `info.bits`, 16-bit audio being -32768 to 32767 and unsigned 8-bit
            -128 to 127; float32 for FLOAT and lossy audio; float64 for DOUBLE. Channels are in WAV's order.

        Raises:
            AudioError: A sample is NaN or infinite, or the file is damaged, shorter than it promises, or
                changed since it was opened.
        """
        if n_samples < 1:
            raise AudioError(f"a block of {n_samples} samples cannot be read; allowed: 1 or more")
        self._file.check_unchanged()
        n_read, bits = 0, self.info.bits
        with closing(self._source.decode(n_samples)) as decoded:
            self._open.callback(decoded.close)
            for samples in _rebatched(decoded, n_samples):
                block = np.ascontiguousarray(samples.T)
                if bits is None:
                    check_finite(block, self.name, n_read)
                else:
                    block >>= 32 - bits
                first = max(start - n_read, 0)
                last = block.shape[1] if stop is None else min(stop - n_read, block.shape[1])
                n_read += block.shape[1]
                if first < last:
                    yield block[:, first:last]
                if stop is not None and n_read >= stop:
                    break
        self._file.check_unchanged()
        self._check_length(n_read, stop)

    def _check_length(self, n_read: int, stop: int | None) -> None:
        if n_read == 0:
            raise AudioError(f"{self.name} holds no samples that decode; give a file with audio in it")
        # MP3 and Ogg cut off anywhere are still good audio, and the length of an MP3 is a claim of its tag.
        promised = self.info.n_samples if stop is None else stop
        if n_read < promised and not self.info.lossy:
            raise AudioError(libsndfile.truncated(self.name, promised, n_read))


def _decoder(file: InputFile, audio_track: int | str | None) -> _Source:
    """The library that decodes a file: libsndfile, or FFmpeg for what libsndfile does not know."""
    try:
        source: _Source = libsndfile.Source(file)
    except NotDecodedError as error:
        return ffmpeg.Source(file, str(error), audio_track)
    if audio_track not in (None, 1):
        raise AudioError(f"{file.name} has no sound track {audio_track!r}; it has one, number 1")
    return source


def _rebatched(arrays: Iterable[NDArray[Any]], n_samples: int) -> Iterator[NDArray[Any]]:
    """The same samples, `n_samples` per array, the last one shorter."""
    waiting: list[NDArray[Any]] = []
    n_waiting = 0
    for array in arrays:
        if not waiting and len(array) == n_samples:
            yield array
            continue
        waiting.append(array)
        n_waiting += len(array)
        if n_waiting >= n_samples:
            joined = np.concatenate(waiting)
            whole = n_waiting - n_waiting % n_samples
            for start in range(0, whole, n_samples):
                yield joined[start : start + n_samples]
            waiting, n_waiting = [joined[whole:]] if n_waiting > whole else [], n_waiting - whole
    if n_waiting:
        yield np.concatenate(waiting)
