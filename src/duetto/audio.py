"""Audio in and out: open, read in blocks, write atomically; every waveform is checked here and only here."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from duetto import _sndfile
from duetto._formats import CONTAINERS, EXTENSIONS, AudioInfo, check_holds, depth, output_format, own_name
from duetto._waveform import (
    check_finite,
    check_n_channels,
    check_sample_rate,
    check_waveform,
    quantise,
    to_float,
)
from duetto.errors import AudioError

__all__ = [
    "EXTENSIONS", "AudioInfo", "AudioReader", "AudioWriter", "check_waveform", "load_audio", "output_format",
    "quantise", "save_audio", "to_float",
]  # fmt: skip

_BLOCK = 65_536  # samples


class AudioReader:
    """A file's audio, block by block in the file's own numbers and in constant memory.

    Use it as a context manager. Reads WAV, RF64, W64, FLAC, AIFF, Ogg Vorbis, Opus and MP3.

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
        with _sndfile.open_to_read(self.path) as sound:
            self.info = self._read_info(sound)
        if self.info.n_samples > _sndfile.LENGTH_UNKNOWN:
            n_samples = sum(len(block) for block in self._decode(_BLOCK))
            self.info = replace(self.info, n_samples=n_samples)
        if self.info.n_samples == 0:
            raise AudioError(f"{self.path} holds no samples; give a file with audio in it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def blocks(self, n_samples: int) -> Iterator[NDArray[Any]]:
        """Read from the start, `n_samples` per block, the last one shorter.

        Yields:
            (n_channels, n): int32 of depth `info.bits`, 16-bit audio being -32768 to 32767 and unsigned 8-bit
            -128 to 127; float32 for FLOAT and lossy audio; float64 for DOUBLE.

        Raises:
            AudioError: A sample is NaN or infinite, or the file is damaged or shorter than it promises.
        """
        if n_samples < 1:
            raise AudioError(f"a block of {n_samples} samples cannot be read; allowed: 1 or more")
        n_read, bits = 0, self.info.bits
        for samples in self._decode(n_samples):
            block = np.ascontiguousarray(samples.T)
            if bits is None:
                check_finite(block, str(self.path), n_read)
            else:
                block >>= 32 - bits
            n_read += block.shape[1]
            yield block
        if n_read == 0:
            raise AudioError(f"{self.path} holds no samples that decode; give a file with audio in it")
        # MP3 and Ogg cut off anywhere are still good audio, and the length of an MP3 is a claim of its tag.
        if n_read < self.info.n_samples and self.info.container not in ("MP3", "OGG"):
            raise AudioError(_truncated(self.path, self.info.n_samples, n_read))

    def _decode(self, n_samples: int) -> Iterator[NDArray[Any]]:
        """Read (n, n_channels) arrays as soundfile gives them: integers fill 32 bits from the left."""
        info, n_read = self.info, 0
        dtype = "int32" if info.bits else "float64" if info.subtype == "DOUBLE" else "float32"
        with self._open.enter_context(_sndfile.open_to_read(self.path)) as sound:
            while True:
                try:
                    samples = sound.read(n_samples, dtype, always_2d=True)
                except soundfile.LibsndfileError as error:
                    reason = f"about {n_read} can be read ({error.error_string}); get a whole copy of it"
                    raise AudioError(f"{self.path} is truncated or damaged: {reason}") from error
                if not len(samples):
                    return
                n_read += len(samples)
                yield samples

    def _read_info(self, sound: soundfile.SoundFile) -> AudioInfo:
        container = "WAV" if sound.format == "WAVEX" else sound.format
        if container not in EXTENSIONS:
            allowed = ", ".join(EXTENSIONS)
            raise AudioError(f"{self.path} is a {container} file; allowed: {allowed}; convert it to WAV")
        check_sample_rate(sound.samplerate, str(self.path))
        check_n_channels(sound.channels, str(self.path))
        if container in ("WAV", "RF64", "W64", "AIFF"):
            promised = _sndfile.promised_samples(self.path, sound)
            if promised:
                raise AudioError(_truncated(self.path, promised, sound.frames))
        return AudioInfo(sound.samplerate, sound.channels, sound.frames, container, sound.subtype)


class AudioWriter:
    """A file that appears whole or not at all.

    Use it as a context manager: blocks go to a temporary file beside `path`, which takes its place when the
    context ends well. After an exception it is removed, and a file that was at `path` is untouched.

    Args:
        path: The file to write; missing folders are made.
        sample_rate: In Hz.
        n_channels: Number of channels.
        container: A key of `EXTENSIONS`. WAV ends at 4 GiB: choose RF64 for more.
        subtype: A subtype that the container can hold.

    Raises:
        AudioError: The container cannot hold such audio; or, once entered, the file cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, sample_rate: int, n_channels: int, container: str, subtype: str
    ) -> None:
        self.path = Path(path)
        self.sample_rate = check_sample_rate(sample_rate, str(path))
        self.n_channels = n_channels
        self.container = container
        self.subtype = subtype
        check_n_channels(n_channels, str(path))
        check_holds(container, subtype, self.sample_rate, n_channels)

    def __enter__(self) -> Self:
        folder = self.path.parent
        with ExitStack() as undo, self._explained():
            if self.path.exists() and not self.path.is_file():
                raise AudioError(f"{self.path} is not a regular file; choose another name to write to")
            undo.callback(_remove_empty, [place for place in (folder, *folder.parents) if not place.exists()])
            folder.mkdir(parents=True, exist_ok=True)
            # Not tempfile's: only their owner may read those. Short, so that the longest names still work.
            self._part = folder / f".duetto-{secrets.token_hex(4)}.part"
            undo.callback(self._part.unlink, missing_ok=True)
            self._sink = undo.enter_context(_sndfile.Sink(self._part, "xb"))
            form = self.sample_rate, self.n_channels, own_name(self.container), self.subtype
            sound = _sndfile.open_to_write(self._sink, *form)
            self._sound = undo.enter_context(sound)
            self._sink.check()
            self._n_written = 0
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._undo:
            if kind is None:
                self._commit()

    def write(self, block: NDArray[Any]) -> None:
        """Append a block.

        Args:
            block: (n_channels, n), integers of the subtype's depth or, for FLOAT, DOUBLE and lossy, floats.

        Raises:
            AudioError: The block does not fit the file, or the disk is full.
        """
        samples = self._native(block)
        with self._explained():
            for start in range(
                0, len(samples), _BLOCK
            ):  # one huge block overflows the Vorbis encoder's stack
                self._sound.write(samples[start : start + _BLOCK])
                self._sink.check()
        self._n_written += len(samples)

    def _native(self, block: NDArray[Any]) -> NDArray[Any]:
        bits = depth(self.subtype)
        kind = "floats" if bits is None else "integers"
        fits = block.ndim == 2 and block.shape[0] == self.n_channels and block.dtype.kind == kind[0]
        if not fits:
            got = f"{block.dtype} {block.shape}"
            raise AudioError(f"{self.path} takes {kind} ({self.n_channels}, n) for {self.subtype}; got {got}")
        if bits is None:
            check_finite(block, f"the block for {self.path}")
            return block.T.astype(np.float64 if self.subtype == "DOUBLE" else np.float32)
        limit = 2 ** (bits - 1)
        if block.size and (block.min() < -limit or block.max() >= limit):
            extremes = f"{block.min()} to {block.max()}"
            raise AudioError(f"the block for {self.path} exceeds {bits} bits: {extremes}; quantise it")
        return block.T.astype(np.int32) << (32 - bits)

    def _commit(self) -> None:
        with self._explained():
            self._sound.close()
            self._sink.check()
            if self.container == "AIFF":
                _sndfile.mend_odd_aiff(self._part, self._n_written, self.n_channels, self.subtype)
            os.fsync(self._sink.fileno())
            self._sink.close()
            self._part.replace(self.path)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever libsndfile or the system refuses into an AudioError."""
        try:
            yield
        except OSError as error:
            advice = "check the folder, its permissions and its free space"
            raise AudioError(f"{self.path} cannot be written: {error.strerror}; {advice}") from error
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.path} cannot be written: {error.error_string}") from error


def load_audio(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Read a whole file.

    Returns:
        The waveform (n_channels, n_samples) as float32, full scale 1, and the sample rate in Hz.

    Raises:
        AudioError: As `AudioReader`.

    Example:
        >>> import duetto
        >>> audio, sample_rate = duetto.load_audio("song.flac")
        >>> audio.shape, audio.dtype, sample_rate
        ((2, 512662), dtype('float32'), 44100)
    """
    with AudioReader(path) as reader:
        info = reader.info
        audio = np.empty((info.n_channels, info.n_samples), np.float32)
        n_read = 0
        for block in reader.blocks(_BLOCK):
            audio[:, n_read : n_read + block.shape[1]] = to_float(block, info.bits)
            n_read += block.shape[1]
    return audio[:, :n_read], info.sample_rate


def save_audio(
    path: str | os.PathLike[str], audio: ArrayLike, sample_rate: float, *, subtype: str | None = None
) -> int:
    """Write a whole waveform, atomically; the extension says in which container.

    Args:
        path: Ends in .wav, .w64, .flac, .aiff, .aif, .ogg, .opus or .mp3.
        audio: (n_channels, n_samples) or (n_samples,), floats in [-1, 1].
        sample_rate: In Hz.
        subtype: By default FLOAT for WAV and W64, PCM_24 for FLAC and AIFF.

    Returns:
        The number of samples that an integer subtype had to clip.

    Raises:
        AudioError: As `check_waveform` and `AudioWriter`, or the extension is unknown.

    Example:
        >>> import duetto, numpy as np
        >>> tone = 1.1 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
        >>> duetto.save_audio("tone.wav", tone, 44100)
        0
        >>> duetto.save_audio("tone.flac", tone, 44100) > 0  # integers cannot hold more than full scale
        True
    """
    waveform = check_waveform(audio, sample_rate=sample_rate)
    container = CONTAINERS.get(Path(path).suffix.lower())
    if container is None:
        raise AudioError(f"{path} has no extension of an audio file; allowed: {', '.join(CONTAINERS)}")
    if subtype is None:
        subtype = {"WAV": "FLOAT", "W64": "FLOAT", "FLAC": "PCM_24", "AIFF": "PCM_24", "OPUS": "OPUS"}.get(
            container, soundfile.default_subtype(own_name(container))
        )
    bits = depth(subtype)
    block, n_clipped = (waveform, 0) if bits is None else quantise(waveform, bits)
    with AudioWriter(
        path, sample_rate=int(sample_rate), n_channels=len(waveform), container=container, subtype=subtype
    ) as writer:
        writer.write(block)
    return n_clipped


def _truncated(path: Path, promised: int, there: int) -> str:
    counts = f"the header promises {promised} samples, {there} are there"
    return f"{path} is truncated: {counts}; get a whole copy of it"


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, deepest first, up to the first one in use."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
