"""What libsndfile reads and writes, and what it leaves undone there: true lengths, honest write errors."""

import io
import signal
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import soundfile
from numpy.typing import NDArray

from duetto.audio.channels import plain_mask
from duetto.audio.chunks import read_chunks, stated_samples
from duetto.audio.formats import AudioInfo
from duetto.audio.input_file import FileView, InputFile
from duetto.audio.parts import NotDecodedError, Part, find_parts
from duetto.audio.waveform import check_n_channels, check_sample_rate
from duetto.errors import AudioError

_CREDIBLE = 64  # samples per byte; above it a length is a claim, and the file has to be decoded to learn it
_UNKNOWN = 2**29  # samples; what a header promises that was written before the length was known
_UNKNOWN_FORMAT = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT, SF_ERR_UNSUPPORTED_ENCODING
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _uninterrupted():
            super().__init__(*args, **kwargs)

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
        """Close as soundfile does."""
        with _uninterrupted():
            super().close()


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
    """A sound file that libsndfile decodes.

    Args:
        file: The file.

    Attributes:
        info: Its audio.

    Raises:
        NotDecodedError: libsndfile cannot decode it.
        AudioError: It is damaged or cut off, its parts differ, or its sample rate or channels are out of
            range.
    """

    def __init__(self, file: InputFile) -> None:
        self._file = file
        with file.opened() as binary:
            self._parts = find_parts(binary)
            infos = [self._describe(binary, part) for part in self._parts]
        self.info = infos[0]
        self._lengths = [info.n_samples for info in infos]
        _check_alike(file.name, infos)
        check_sample_rate(self.info.sample_rate, file.name)
        check_n_channels(self.info.n_channels, file.name)
        if sum(self._lengths) > _CREDIBLE * file.n_bytes:
            self._lengths = self._count()
        self.info = replace(self.info, n_samples=sum(self._lengths))

    def decode(self, n_samples: int) -> Generator[NDArray[Any]]:
        """Read (n, n_channels) arrays of at most `n_samples`; integers fill 32 bits from the left."""
        with self._file.opened() as binary:
            for part, length in zip(self._parts, self._lengths, strict=True):
                yield from self._decode_part(binary, part, n_samples, None if part.unsure else length)

    def _decode_part(
        self, binary: BinaryIO, part: Part, n_samples: int, length: int | None
    ) -> Generator[NDArray[Any]]:
        info, n_read = self.info, 0
        dtype = "int32" if info.bits else "float64" if info.subtype == "DOUBLE" else "float32"
        with self._opened(binary, part) as sound:
            while length is None or n_read < length:
                n_wanted = n_samples if length is None else min(n_samples, length - n_read)
                try:
                    samples = sound.read(n_wanted, dtype, always_2d=True)
                except soundfile.LibsndfileError as error:
                    reason = f"about {n_read} samples can be read ({error.error_string})"
                    raise AudioError(
                        f"{self._file.name} is truncated or damaged: {reason}; get a whole copy of it"
                    ) from error
                if not len(samples):
                    return
                n_read += len(samples)
                yield samples if part.order is None else samples[:, part.order]

    def _describe(self, binary: BinaryIO, part: Part) -> AudioInfo:
        with self._opened(binary, part) as sound:
            container = part.container or ("WAV" if sound.format == "WAVEX" else sound.format)
            mask = plain_mask(part.channel_mask, sound.channels)
            info = AudioInfo(sound.samplerate, sound.channels, sound.frames, container, sound.subtype, mask)
        if part.unsure:
            return info
        promised = self._promised(binary, part, info)
        if promised > info.n_samples:
            raise AudioError(truncated(self._file.name, promised, info.n_samples))
        return replace(info, n_samples=promised or info.n_samples)

    def _promised(self, binary: BinaryIO, part: Part, info: AudioInfo) -> int:
        """How many samples the header promises, 0 if it does not.

        libsndfile shortens the length of a file that was cut off without a word.
        """
        if info.container in ("WAV", "RF64", "W64", "AIFF", "SVX"):
            found = read_chunks(binary, part.extents[0][0])
            return found.promised_samples(info.subtype, info.n_channels, info.n_samples)
        if info.container in ("AU", "CAF", "MAT4"):
            with self._opened(binary, replace(part, endless=True)) as sound:
                n_samples: int = sound.frames
            return 0 if n_samples > _UNKNOWN else n_samples
        return stated_samples(binary, info.container)

    def _count(self) -> list[int]:
        """The samples of each part that decode."""
        lengths = []
        with self._file.opened() as binary:
            for part, length in zip(self._parts, self._lengths, strict=True):
                lengths.append(sum(map(len, self._decode_part(binary, part, _BLOCK, None))))
                if self.info.container == "FLAC" and length not in (lengths[-1], _FLAC_LENGTH_UNKNOWN):
                    raise AudioError(truncated(self._file.name, length, lengths[-1]))
        return lengths

    @contextmanager
    def _opened(self, binary: BinaryIO, part: Part) -> Iterator[Sequential]:
        view = FileView(binary, part.extents, part.patches, endless=part.endless)
        try:
            sound = Sequential(view)
        except soundfile.LibsndfileError as error:
            if view.error:
                raise view.error from error
            if error.code in _UNKNOWN_FORMAT:
                raise NotDecodedError from error
            raise AudioError(
                f"{self._file.name} is not an audio file, or it is truncated or damaged "
                f"({error.error_string.rstrip('.')}); give a whole file with audio in it"
            ) from error
        with sound:
            yield sound
            if view.error:
                raise view.error


def truncated(name: str, promised: int, there: int) -> str:
    """What to say of a file that was cut off."""
    counts = f"the header promises {promised} samples, {there} are there"
    return f"{name} is truncated: {counts}; get a whole copy of it"


def _check_alike(name: str, infos: Sequence[AudioInfo]) -> None:
    """Refuse joined files that differ in what the stems of all of them must have in common."""
    first = _form(infos[0])
    for index, info in enumerate(infos[1:], 2):
        if _form(info) != first:
            raise AudioError(
                f"{name} consists of {len(infos)} files, one after the other: the first has {first}, number "
                f"{index} has {_form(info)}; split it, or convert it as a whole"
            )


def _form(info: AudioInfo) -> str:
    return f"{info.n_channels} channels at {info.sample_rate} Hz, {info.subtype}"


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
