"""A file of several sound tracks, beside streams that may be copied from another file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from duetto.audio.atomic import replacing
from duetto.audio.ffmpeg import need_av
from duetto.audio.libsndfile import Sink
from duetto.audio.sound_track import OPUS_RATE, TAG_NAMES, SoundTrack
from duetto.audio.waveform import check_finite
from duetto.errors import AudioError

_BLOCK = 65_536  # samples


class Copied(Protocol):
    """Streams of another file."""

    start: Fraction
    language: str | None

    def attach(self, container: Any) -> None:
        """Add the streams to an output container."""

    def copy(self, until: Fraction | None) -> None:
        """Copy the packets up to a time in seconds, or all that are left."""


class Track:
    """One sound track of a `MultiTrackWriter`, written like a file of its own."""

    def __init__(self, name: str, write: Callable[[str, NDArray[Any]], None]) -> None:
        self._name, self._write = name, write

    def write(self, block: NDArray[Any]) -> None:
        """Append (n_channels, n) floats."""
        self._write(self._name, block)


class MultiTrackWriter:
    """A file of several sound tracks that appears whole or not at all.

    Use it as a context manager, as `AudioWriter`.

    Args:
        path: The file to write; missing folders are made.
        names: The tracks, in their order in the file; the first is the one that players choose.
        muxer: FFmpeg's name of the container.
        codec: FFmpeg's name of the encoder.
        sample_rate: In Hz.
        n_channels: Number of channels of each track.
        channel_mask: Which loudspeakers they are for; 0 if that is not known.
        bitrate_kbps: Of each track.
        texts: Tags by their names in Vorbis comments.
        copied: Streams of another file.
        finish: Called with the finished file before it takes its name; returns notes.

    Attributes:
        tracks: Name -> track to write to. Blocks are written to all in turn, of the same length.
        notes: What a user should know of the result.
        resampled: Whether the tracks have another sample rate than what is written.

    Raises:
        AudioError: PyAV is not installed; or, once entered, the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        *,
        muxer: str,
        codec: str,
        sample_rate: int,
        n_channels: int,
        channel_mask: int = 0,
        bitrate_kbps: float | None = None,
        texts: Mapping[str, str] = MappingProxyType({}),
        copied: Copied | None = None,
        finish: Callable[[Path], list[str]] = lambda _: [],
    ) -> None:
        self._av = need_av(path)
        self.path, self._muxer, self._copied, self._finish = path, muxer, copied, finish
        self._texts = {TAG_NAMES.get(name, name): text for name, text in texts.items()}
        self._sample_rate = sample_rate
        self.resampled = codec == "libopus" and sample_rate != OPUS_RATE
        self._sound_track: Callable[[Any], SoundTrack] = partial(
            SoundTrack,
            self._av,
            codec=codec,
            sample_rate=sample_rate,
            n_channels=n_channels,
            channel_mask=channel_mask,
            bitrate_kbps=bitrate_kbps,
            start=copied.start if copied else Fraction(0),
        )
        self._names = tuple(names)
        self.tracks = {name: Track(name, self._write) for name in names}
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as undo, self._explained():
            if self.path.exists() and not self.path.is_file():
                raise AudioError(f"{self.path} is not a regular file; choose another name to write to")
            self._part = undo.enter_context(replacing(self.path, unique=True))
            self._sink = undo.enter_context(Sink(self._part, "xb"))
            # The length of the whole and when a track begins are told in units of this scale: samples.
            scale = {"movie_timescale": str(self._sample_rate)} if self._is_mp4 else {}
            options = {"fflags": "+bitexact", **scale}
            self._container = self._av.open(self._sink, "w", format=self._muxer, options=options)
            undo.callback(self._close)
            self._open = True
            self._container.metadata.update(self._texts)
            if self._copied:
                self._copied.attach(self._container)
            self._sounds = {name: self._sound_track(self._container) for name in self._names}
            self._label()
            self._undo = undo.pop_all()
        return self

    def _label(self) -> None:
        """Name the tracks, and make the first the one that players choose."""
        disposition = self._av.stream.Disposition
        name_tag = "handler_name" if self._is_mp4 else "title"
        for index, (name, sound) in enumerate(self._sounds.items()):
            sound.stream.metadata[name_tag] = name.capitalize()
            if self._copied and self._copied.language:
                sound.stream.metadata["language"] = self._copied.language
            sound.stream.disposition = disposition(0) if index else disposition.default

    @property
    def _is_mp4(self) -> bool:
        return self._muxer in ("mp4", "mov", "ipod")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._undo.__exit__(kind, error, trace)
            return
        with self._explained(), self._undo:
            for sound in self._sounds.values():
                sound.finish()
            if self._copied:
                self._copied.copy(None)
            self._close()
            self._sink.check()
            self._sink.close()
            self.notes += self._finish(self._part)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._container.close()

    def _write(self, name: str, block: NDArray[Any]) -> None:
        check_finite(block, f"the block for {self.path}")
        sound = self._sounds[name]
        with self._explained():
            for start in range(0, block.shape[1], _BLOCK):
                sound.write(block[:, start : start + _BLOCK].T.astype(np.float32, copy=False))
                self._sink.check()
            if self._copied:
                self._copied.copy(min(sound.seconds for sound in self._sounds.values()))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever FFmpeg or the system refuses into an AudioError."""
        try:
            yield
        except self._av.FFmpegError as error:
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from error
        except OSError as error:
            advice = "check the folder, its permissions and its free space"
            raise AudioError(f"{self.path} cannot be written: {error.strerror}; {advice}") from error
