"""What libsndfile reads and writes, and what it leaves undone there: true lengths, honest write errors."""

import io
import os
import signal
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray

from duetto.audio.containers import audio_chunk, has_length_tag, promised_samples
from duetto.audio.formats import EXTENSIONS, AudioInfo
from duetto.audio.waveform import check_n_channels, check_sample_rate
from duetto.errors import AudioError

_CREDIBLE = 64  # samples per byte; above it a length is a claim, and the file has to be decoded to learn it
_ENDLESS = 2**40  # bytes; far more than any MP3, far less than overflows a length in samples
_SFC_SET_ADD_PEAK_CHUNK = 0x1050
_SFC_RF64_AUTO_DOWNGRADE = 0x1210
_BLOCK = 65_536  # samples
_FLAC_LENGTH_UNKNOWN = 2**63 - 1  # what libsndfile makes of a FLAC that does not say

WAV_OR_RF64 = "WAV or RF64"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: an exception raised in a callback from C is printed and lost."""
    if threading.current_thread() is not threading.main_thread():  # others are never interrupted
        yield
        return
    held: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in ours:
            signal.signal(number, lambda number, _: held.append(number))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for late in held:
            signal.raise_signal(late)


class Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file read or written once, front to back.

    soundfile seeks to where it already is after every block of a seekable file, which makes FLAC slow and can
    disturb a lossy decoder.
    """

    def seekable(self) -> bool:
        """Whether soundfile may seek: never."""
        return False

    def read(self, *args: Any, **kwargs: Any) -> Any:
        """Read as soundfile does."""
        with _uninterrupted():
            return super().read(*args, **kwargs)

    def write(self, data: Any) -> None:
        """Write as soundfile does."""
        with _uninterrupted():
            super().write(data)

    def close(self) -> None:
        """Close the sound, and the Python file below it if there is one."""
        with _uninterrupted():
            super().close()
        if isinstance(self.name, _EndlessFile | _UnclosedFile):
            self.name.close()


class _EndlessFile(io.FileIO):
    """A file that claims to be longer than it is, and reads as zeros far past its end.

    Without a length tag the length of an MP3 is guessed from its first frames and the file's size, and
    reading stops there: a variable bit rate could lose most of a song. A far too long guess loses nothing.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(offset + (_ENDLESS if whence == io.SEEK_END else 0), whence)

    def readinto(self, buffer: Any, /) -> int:
        if self.tell() > os.fstat(self.fileno()).st_size:  # the search for a tag in the last 128 bytes
            buffer[:] = bytes(len(buffer))
            return len(buffer)
        return super().readinto(buffer) or 0


class _UnclosedFile(io.FileIO):
    """A WAV file whose writer never came back to fill in its sizes, with "to the end" in the place of 0.

    libsndfile takes the 0 at its word and finds no samples.
    """

    size_at = 0

    def readinto(self, buffer: Any, /) -> int:
        start = self.tell() - self.size_at
        n_bytes = super().readinto(buffer) or 0
        for index in range(max(-start, 0), min(4 - start, n_bytes)):
            buffer[index] = b"\xff"
        return n_bytes


class Sink(io.FileIO):
    """The file below an encoder; keeps the first error of a write, since libsndfile and cffi drop all."""

    error: OSError | None = None
    origin = 0

    def leave_room(self, n_bytes: int) -> None:
        """Let the encoder's file begin `n_bytes` later; the header grows into them."""
        self.origin = n_bytes
        self.truncate(n_bytes)
        self.seek(0)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, counting from where the encoder's file begins."""
        return super().seek(offset + (self.origin if whence == io.SEEK_SET else 0), whence) - self.origin

    def tell(self) -> int:
        """The position, counted from there."""
        return super().tell() - self.origin

    def write(self, data: Any, /) -> int:
        """Write all of `data`, or keep the reason why not."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = self.error or error
        return len(data)

    def check(self) -> None:
        """Raise the error that was kept."""
        if self.error is not None:
            raise self.error


class Source:
    """A sound file.

    Args:
        path: the file.

    Attributes:
        info: its audio.

    Raises:
        AudioError: it is no audio of these kinds, cut off, or has a sample rate or channels out of range.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as sound:
            container = "WAV" if sound.format == "WAVEX" else sound.format
            if container not in EXTENSIONS:
                allowed = ", ".join(EXTENSIONS)
                raise AudioError(f"{path} is a {container} file; allowed: {allowed}; convert it to WAV")
            check_sample_rate(sound.samplerate, str(path))
            check_n_channels(sound.channels, str(path))
            if container in ("WAV", "RF64", "W64", "AIFF"):
                promised = promised_samples(path, sound)
                if promised:
                    raise AudioError(truncated(path, promised, sound.frames))
            self.info = AudioInfo(sound.samplerate, sound.channels, sound.frames, container, sound.subtype)
        if self.info.n_samples > _CREDIBLE * path.stat().st_size:
            n_samples = sum(len(block) for block in self.decode(_BLOCK))
            if container == "FLAC" and self.info.n_samples not in (n_samples, _FLAC_LENGTH_UNKNOWN):
                raise AudioError(truncated(path, self.info.n_samples, n_samples))
            self.info = replace(self.info, n_samples=n_samples)

    def decode(self, n_samples: int) -> Generator[NDArray[Any]]:
        """Read (n, n_channels) arrays as soundfile gives them: integers fill 32 bits from the left."""
        info, n_read = self.info, 0
        dtype = "int32" if info.bits else "float64" if info.subtype == "DOUBLE" else "float32"
        with self._opened() as sound:
            while True:
                try:
                    samples = sound.read(n_samples, dtype, always_2d=True)
                except soundfile.LibsndfileError as error:
                    reason = f"about {n_read} can be read ({error.error_string}); get a whole copy of it"
                    raise AudioError(f"{self._path} is truncated or damaged: {reason}") from error
                if not len(samples):
                    return
                n_read += len(samples)
                yield samples

    def _opened(self) -> Sequential:
        try:
            return _open_whole(self._path)
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: .raw, whose rate nobody knows
            allowed = ", ".join(EXTENSIONS)
            raise AudioError(
                f"{self._path} is not an audio file that can be read; allowed: {allowed}"
            ) from error


def truncated(path: Path, promised: int, there: int) -> str:
    """What to say of a file that was cut off."""
    counts = f"the header promises {promised} samples, {there} are there"
    return f"{path} is truncated: {counts}; get a whole copy of it"


def _open_whole(path: Path) -> Sequential:
    """Open a sound file so that libsndfile reads all of it."""
    # As bytes, since soundfile cannot encode a name that is not UTF-8.
    sound = Sequential(os.fsencode(path) if os.name == "posix" else path)
    if sound.format == "MP3" and not has_length_tag(path):
        sound.close()
        return Sequential(_EndlessFile(path))
    if sound.format in ("WAV", "WAVEX") and sound.frames == 0:
        with path.open("rb") as file:
            there = audio_chunk(file)[1]
            size_at = file.seek(0, io.SEEK_END) - there - 4
            file.seek(4)
            unclosed = there and int.from_bytes(file.read(4), "little") <= size_at - 4
        if unclosed:  # not even the header fits into the size of the whole: no other chunks follow
            sound.close()
            patched = _UnclosedFile(path)
            patched.size_at = size_at
            return Sequential(patched)
    return sound


def open_to_write(
    sink: Sink,
    sample_rate: int,
    n_channels: int,
    container: str,
    subtype: str,
    settings: Mapping[str, Any],
    *,
    extensible: bool,
    texts: Mapping[str, str],
) -> Sequential:
    """Start a sound file in `sink`.

    A WAV of unknown length is "WAV or RF64": it becomes a WAV when it is closed, if it is short enough.
    `extensible` says whether a WAV has to hold a channel mask; `texts` are its tags, as soundfile names them.

    Raises:
        soundfile.LibsndfileError: The container cannot hold such audio.
    """
    either = container == WAV_OR_RF64
    if either:
        container = "RF64"
    elif container == "WAV" and extensible and soundfile.check_format("WAVEX", subtype):
        container = "WAVEX"
    sound = Sequential(sink, "w", sample_rate, n_channels, subtype, format=container, **settings)
    # The PEAK chunk holds the time of writing, so that equal samples would give unequal files; soundfile has
    # no name for this command, nor for the other.
    soundfile._snd.sf_command(sound._file, _SFC_SET_ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
    if either:
        soundfile._snd.sf_command(sound._file, _SFC_RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
    encoding = "latin-1" if container == "MP3" else "utf-8"  # LAME is told the former, whatever it gets
    for name, text in texts.items():
        soundfile._snd.sf_set_string(sound._file, soundfile._str_types[name], text.encode(encoding))
    return sound
