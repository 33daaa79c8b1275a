"""A file that appears whole or not at all."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO, Protocol, Self, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from duetto.audio import libsndfile
from duetto.audio.atomic import filling, replacing
from duetto.audio.channels import XIPH_MASKS, XIPH_ORDER, places, same_places
from duetto.audio.ffmpeg import need_av
from duetto.audio.formats import check_holds, depth, own_name, stored_bytes, written_rate
from duetto.audio.header_writer import USUAL_MASKS, Additions, Chunk, mend
from duetto.audio.resampler import Resampler
from duetto.audio.sound_track import AAC_MASKS, M4AEncoder
from duetto.audio.tagging import basic_texts, write_tags
from duetto.audio.tags import Tags
from duetto.audio.waveform import check_finite, check_n_channels, check_sample_rate
from duetto.errors import AudioError

_BLOCK = 65_536  # samples; one huge block overflows the Vorbis encoder's stack
WAV_LIMIT = 2**32 - 2**26  # bytes of audio in a WAV; the rest of its 4 GiB is for its header and tags


class _Encoder(Protocol):
    def write(self, samples: NDArray[Any]) -> None:
        """Append (n, n_channels) samples."""

    def close(self) -> None:
        """Finish the file."""


class AudioWriter:
    """A file that appears whole or not at all.

    Use it as a context manager: blocks go to a temporary file beside `path`, which takes its place when the
    context ends well. After an exception it is removed, and a file that was at `path` is untouched.

    Args:
        target: The file to write, whose missing folders are made; or a binary file object, which gets the
            whole file at its position once it is complete.
        sample_rate: Of the blocks, in Hz. Opus that does not know it is written at 48 kHz.
        n_channels: Number of channels.
        container: A key of `EXTENSIONS`. A WAV of more than 4 GiB becomes RF64, which its readers take too.
        subtype: A subtype that the container can hold.
        n_samples: How many will be written at most, where that is known; it decides between WAV and RF64. An
            unknown number is fine: the WAV then has a header that can become either.
        channel_mask: Which loudspeakers the channels are for, as `duetto.audio.channels` says; 0 if that is
            not known. The channels stand in the order of its bits.
        settings: How a compressed file is coded, as `encoder_settings` says.
        tags: What the file says of the song.
        chunks: Further chunks of a WAV, each a name of 4 bytes and its content, put before the samples.

    Attributes:
        notes: What became of the tags, where that needs to be said.

    Raises:
        AudioError: The container cannot hold such audio; or, once entered, the file cannot be written.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        sample_rate: int,
        n_channels: int,
        container: str,
        subtype: str,
        n_samples: int | None = None,
        channel_mask: int = 0,
        settings: Mapping[str, Any] = MappingProxyType({}),
        tags: Tags | None = None,
        chunks: Sequence[Chunk] = (),
    ) -> None:
        self._file = None if isinstance(target, str | os.PathLike) else target
        self.path = Path(getattr(target, "name", "the file object") if self._file else cast(Any, target))
        self.sample_rate = check_sample_rate(sample_rate, str(self.path))
        self.n_channels = n_channels
        self.container = container
        self.subtype = subtype
        self.notes: list[str] = []
        check_n_channels(n_channels, str(self.path))
        check_holds(container, subtype, self.sample_rate, n_channels)
        self.channel_mask = _checked_mask(self.path, container, n_channels, channel_mask)
        rate = written_rate(subtype, self.sample_rate)
        self._resampler = None if rate == sample_rate else Resampler(self.sample_rate, rate, n_channels)
        self._settings = settings
        self._tags = tags
        self._chunks = chunks
        self._sample_bytes = n_channels * stored_bytes(subtype)
        self._kind = own_name(container)
        if container == "WAV" and n_samples is None:
            self._kind = libsndfile.WAV_OR_RF64
        elif container == "WAV" and (n_samples or 0) * self._sample_bytes > WAV_LIMIT:
            self._kind = "RF64"
        else:
            self._check_fits(n_samples or 0)
        if container == "M4A":
            need_av(self.path)

    def __enter__(self) -> Self:
        with ExitStack() as undo, self._explained():
            if self._file is not None:
                self._part = undo.enter_context(filling(self._file))
            elif self.path.exists() and not self.path.is_file():
                raise AudioError(f"{self.path} is not a regular file; choose another name to write to")
            else:
                self._part = undo.enter_context(replacing(self.path, unique=True))
            self._sink = undo.enter_context(libsndfile.Sink(self._part, "xb"))
            self._additions = Additions(self._kind, self.n_channels, self.channel_mask, self._chunks)
            self._sink.leave_room(self._additions.n_bytes)
            self._sound = undo.enter_context(closing(self._encoder()))
            self._sink.check()
            self._n_written = 0
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._undo.__exit__(kind, error, trace)
            return
        with self._explained(), self._undo:
            self._commit()

    def _encoder(self) -> _Encoder:
        form = written_rate(self.subtype, self.sample_rate), self.n_channels
        texts, notes = basic_texts(self.container, self._tags, name=self.path)
        self.notes += notes
        if self.container == "M4A":
            mask = self.channel_mask
            return M4AEncoder(self._sink, *form, channel_mask=mask, texts=texts, **self._settings)
        extensible = self.n_channels > 2 or self.channel_mask not in (0, USUAL_MASKS.get(self.n_channels))
        return libsndfile.open_to_write(
            self._sink, *form, self._kind, self.subtype, self._settings, extensible=extensible, texts=texts
        )

    def write(self, block: NDArray[Any]) -> None:
        """Append a block.

        Args:
            block: (n_channels, n), integers of the subtype's depth or, for FLOAT, DOUBLE and lossy, floats.

        Raises:
            AudioError: The block does not fit the file, or the disk is full.
        """
        samples = self._native(block)
        self._check_fits(self._n_written + len(samples))
        with self._explained():
            self._encode(self._resampler.process(samples) if self._resampler else samples)

    def _encode(self, samples: NDArray[Any]) -> None:
        for start in range(0, len(samples), _BLOCK):
            self._sound.write(samples[start : start + _BLOCK])
            self._sink.check()
        self._n_written += len(samples)

    def _check_fits(self, n_samples: int) -> None:
        """Refuse a WAV or AIFF whose sizes would overflow their 32 bits."""
        if self._kind in ("WAV", "AIFF") and n_samples * self._sample_bytes > WAV_LIMIT:
            advice = (
                "announce all its samples" if self._kind == "WAV" else "choose WAV, which may become RF64"
            )
            raise AudioError(f"{self.path}: {n_samples} samples do not fit into {self._kind}; {advice}")

    def _native(self, block: NDArray[Any]) -> NDArray[Any]:
        bits = depth(self.subtype)
        kind = "floats" if bits is None else "integers"
        fits = block.ndim == 2 and block.shape[0] == self.n_channels and block.dtype.kind == kind[0]
        if not fits:
            got = f"{block.dtype} {block.shape}"
            raise AudioError(f"{self.path} takes {kind} ({self.n_channels}, n) for {self.subtype}; got {got}")
        if self.container in ("OGG", "OPUS") and self.n_channels in XIPH_ORDER:
            block = block[np.argsort(XIPH_ORDER[self.n_channels])]
        if bits is None:
            check_finite(block, f"the block for {self.path}")
            return block.T.astype(np.float64 if self.subtype == "DOUBLE" else np.float32)
        limit = 2 ** (bits - 1)
        if block.size and (block.min() < -limit or block.max() >= limit):
            extremes = f"{block.min()} to {block.max()}"
            raise AudioError(f"the block for {self.path} exceeds {bits} bits: {extremes}; quantise it")
        return np.left_shift(block.T, 32 - bits, order="C", dtype=np.int32)

    def _commit(self) -> None:
        """Finish the temporary file, which then takes its name."""
        if self._resampler:
            self._encode(self._resampler.finish())
        self._sound.close()
        self._sink.check()
        self._additions.write(self._part)
        mend(self._part, self._kind, self.subtype, n_samples=self._n_written, n_channels=self.n_channels)
        self.notes += write_tags(self._part, self.container, self._tags, name=self.path)
        self._sink.close()

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


def _checked_mask(path: Path, container: str, n_channels: int, channel_mask: int) -> int:
    """The mask as the container knows it: a pair of channels at the sides may have to stand at the back.

    Raises:
        AudioError: The container would put a channel at another place.
    """
    if channel_mask.bit_count() not in (0, n_channels):  # it belongs to another number of channels
        return 0
    known = {
        "OGG": (XIPH_MASKS.get(n_channels, 0),),
        "OPUS": (XIPH_MASKS.get(n_channels, 0),),
        "M4A": AAC_MASKS.get(n_channels, ()),
    }.get(container)
    if not channel_mask or known is None:
        return channel_mask
    for mask in known:
        if same_places(mask, channel_mask):
            return mask
    named = places(channel_mask)
    raise AudioError(f"{path}: {container} cannot hold {n_channels} channels for {named}; choose WAV or FLAC")
