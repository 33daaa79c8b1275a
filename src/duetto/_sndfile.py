"""What libsndfile leaves undone: true lengths, honest write errors, the same bytes for the same samples."""

import io
import os
import signal
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from duetto._formats import EXTENSIONS
from duetto.errors import AudioError

LENGTH_UNKNOWN = 2**36  # samples; above it a length is none, and the file has to be decoded to learn it

_ENDLESS = 2**40  # bytes; far more than any MP3, far less than overflows a length in samples
_SFC_SET_ADD_PEAK_CHUNK = 0x1050
_STORED_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32,
    "FLOAT": 32, "DOUBLE": 64, "ULAW": 8, "ALAW": 8,
}  # fmt: skip


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


def open_to_read(path: Path) -> Sequential:
    """Open a sound file for reading from start to end.

    Raises:
        AudioError: It is missing, no file, empty, forbidden, or not audio.
    """
    try:
        if not path.is_file():
            what = "is no file" if path.exists() else "does not exist"
            raise AudioError(
                f"{path} {'is a folder' if path.is_dir() else what}; give the path of an audio file"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError(f"{path} is empty (0 bytes); give a file with audio in it")
        return _open_whole(path)
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a .raw file, whose rate nobody knows
        allowed = ", ".join(EXTENSIONS)
        raise AudioError(f"{path} is not an audio file that can be read; allowed: {allowed}") from error


def _open_whole(path: Path) -> Sequential:
    """Open a sound file so that libsndfile reads all of it."""
    # As bytes, since soundfile cannot encode a name that is not UTF-8.
    sound = Sequential(os.fsencode(path) if os.name == "posix" else path)
    if sound.format == "MP3" and not _has_length_tag(path):
        sound.close()
        return Sequential(_EndlessFile(path))
    if sound.format in ("WAV", "WAVEX") and sound.frames == 0:
        with path.open("rb") as file:
            there = _audio_chunk(file)[1]
            size_at = file.seek(0, io.SEEK_END) - there - 4
            file.seek(4)
            unclosed = there and int.from_bytes(file.read(4), "little") <= size_at - 4
        if unclosed:  # not even the header fits into the size of the whole: no other chunks follow
            sound.close()
            patched = _UnclosedFile(path)
            patched.size_at = size_at
            return Sequential(patched)
    return sound


def open_to_write(sink: Sink, sample_rate: int, n_channels: int, container: str, subtype: str) -> Sequential:
    """Start a sound file in `sink`.

    Raises:
        soundfile.LibsndfileError: The container cannot hold such audio.
    """
    extensible = container == "WAV" and n_channels > 2 and soundfile.check_format("WAVEX", subtype)
    sound = Sequential(
        sink, "w", sample_rate, n_channels, subtype, format="WAVEX" if extensible else container
    )
    # The PEAK chunk holds the time of writing, so that equal samples would give unequal files; soundfile has
    # no name for this command.
    soundfile._snd.sf_command(sound._file, _SFC_SET_ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
    return sound


def mend_odd_aiff(path: Path, n_samples: int, n_channels: int, subtype: str) -> None:
    """Correct the lengths in an AIFF file of an odd number of 8-bit samples.

    libsndfile counts the byte that pads them as one of them.
    """
    n_bytes = n_samples * n_channels
    if _STORED_BITS.get(subtype) != 8 or n_bytes % 2 == 0:
        return
    with path.open("r+b") as file:
        header = file.read(4096)
        file.seek(header.index(b"COMM") + 10)
        file.write(n_samples.to_bytes(4, "big"))
        file.seek(header.index(b"SSND") + 4)
        file.write((n_bytes + 8).to_bytes(4, "big"))


def promised_samples(path: Path, sound: soundfile.SoundFile) -> int:
    """How many samples the header of a cut-off WAV, RF64, W64 or AIFF file promises; 0 if it is whole.

    libsndfile shortens the length of a file that was cut off without a word.
    """
    with path.open("rb") as file:
        promised, there = _audio_chunk(file)
    # Programs that stream write 0, or something just beside 2 or 4 GiB, before they know the size.
    streamed = promised > 2**30 and min(promised % 2**31, -promised % 2**31) <= 2**24 + 2**16
    if streamed or promised <= there:
        return 0
    stored_bits = _STORED_BITS.get(sound.subtype)
    if stored_bits:
        return int(promised * 8 // (stored_bits * sound.channels))
    return int(promised * max(sound.frames, 1) // max(there, 1))  # coded in blocks: by proportion


def _audio_chunk(file: BinaryIO) -> tuple[int, int]:
    """The size of the audio chunk in bytes: as its header says, and as the file holds. (0, 0) without one."""
    magic, long_size = file.read(4), 0
    if magic == b"riff":  # W64: 16-byte names, sizes include the 24 bytes of the header
        layout, start, own, align = "<4s12xQ", 40, 24, 8
    else:
        layout, start, own, align = (">" if magic in (b"FORM", b"RIFX") else "<") + "4sI", 12, 0, 2
    length = file.seek(0, io.SEEK_END)
    file.seek(start)
    while len(header := file.read(struct.calcsize(layout))) == struct.calcsize(layout):
        name, size = struct.unpack(layout, header)
        position, size = file.tell(), max(size - own, 0)
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data":
            return (long_size if magic == b"RF64" else size), length - position
        elif name == b"SSND":  # its first 8 bytes are no audio
            return size - 8, length - position - 8
        file.seek(position + size + -size % align)
    return 0, 0


def _has_length_tag(path: Path) -> bool:
    """Whether an MP3 says how long it is, in a Xing, Info or VBRI tag in its first frame."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":
            n_bytes = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            file.seek(10 + n_bytes)
        first_frame = head + file.read(4096)
    return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))
