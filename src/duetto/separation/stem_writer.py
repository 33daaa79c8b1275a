"""The stems of a file as files: which of them, where, in which format."""

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from duetto.audio import EXTENSIONS, AudioInfo, AudioReader, output_format
from duetto.audio.formats import BIT_DEPTHS, MULTI_TRACK, depth
from duetto.audio.video_writer import video_extension
from duetto.errors import AudioError, ConfigError
from duetto.separation.remainder import STEMS, mix_block, null_residual, split_block, to_real
from duetto.separation.stem_outputs import stem_outputs

TEMPLATE = "{model}/{parent}/{track}/{stem}.{ext}"


def _check_choice(option: str, value: str | None, choices: list[str]) -> None:
    if value is not None and value not in choices:
        raise ConfigError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}")


def _check_stems(stems: tuple[str, ...], mix: dict[str, float] | None) -> None:
    allowed = f"allowed: {', '.join(STEMS)}"
    if not stems or len(set(stems)) < len(stems) or not set(stems) <= set(STEMS):
        raise ConfigError(f"stems={stems!r}: name each stem once, and one at least; {allowed}")
    if mix is None:
        return
    if stems != STEMS:
        raise ConfigError("a mix is written in the stems' place; choose either mix or stems")
    if not mix or not set(mix) <= set(STEMS):
        raise ConfigError(f"mix={mix!r} must name a stem or both; {allowed}")
    for stem, level in mix.items():
        if not -200 <= level <= 60:
            raise ConfigError(f"mix: {stem} at {level} dB; allowed: -200 to 60 dB")


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What `Separator.separate_file` writes.

    Attributes:
        template: path of a stem below the output folder.
        format: "wav", "flac", "aiff", "w64", "rf64", "mp3", "ogg", "opus" or "m4a"; by default the song's
            own, or "wav" if that is lossy. "video" is the song's video file again with the stems as its
            sound, "stem.mp4" a file for DJ software with the song and its stems as sound tracks.
        bit_depth: "16", "24" or "32" bits per sample, "32f" or "64f" for floating point; by default the
            song's own.
        stems: which stems are written; those left out are neither encoded nor kept.
        mix: decibels by stem: one file, a song of these levels named "mix", is written in the stems' place;
            a stem that is not named is silent.
        start_seconds: where the part of the song begins that is separated, to the nearest sample.
        end_seconds: where it ends; None is the song's end.
        bitrate_kbps: of MP3, Opus and M4A, and of each sound track of a video or stem.mp4, in kbit/s.
        quality: 0 to 10: how good MP3 and Ogg Vorbis sound, how small FLAC gets.
        audio_track: of a film with several sound tracks the one to separate: its number from 1, or its
            language as the file states it, such as "eng".

    Raises:
        ConfigError: a value out of its range, or options that exclude each other.
    """

    template: str = TEMPLATE
    format: str | None = None
    bit_depth: str | None = None
    stems: tuple[str, ...] = STEMS
    mix: dict[str, float] | None = None
    start_seconds: float = 0.0
    end_seconds: float | None = None
    bitrate_kbps: float | None = None
    quality: float | None = None
    audio_track: int | str | None = None

    @property
    def container(self) -> str | None:
        """The format as a key of `EXTENSIONS` or one of `MULTI_TRACK`; None for the song's own."""
        return self.format and self.format.upper()

    @property
    def subtype(self) -> str | None:
        """The bit depth in libsndfile's words; None for the song's own."""
        return self.bit_depth and BIT_DEPTHS[self.bit_depth]

    @property
    def written(self) -> tuple[str, ...]:
        """The names of the files that are written: the stems, "mix", or "stems" for a file of both."""
        if self.container in MULTI_TRACK and self.tracks == STEMS:
            return ("stems",)
        return self.tracks

    @property
    def tracks(self) -> tuple[str, ...]:
        """The stems that are written, or "mix"."""
        return ("mix",) if self.mix else self.stems

    def __post_init__(self) -> None:
        _check_choice("format", self.format, [name.lower() for name in (*EXTENSIONS, *MULTI_TRACK)])
        _check_choice("bit_depth", self.bit_depth, list(BIT_DEPTHS))
        _check_stems(self.stems, self.mix)
        if self.container == "STEM.MP4" and self.tracks != STEMS:
            raise ConfigError(
                "a stem.mp4 file holds both stems; choose another format, or no stem and no mix"
            )
        if self.container == "VIDEO" and (self.start_seconds, self.end_seconds) != (0.0, None):
            raise ConfigError("a video is written whole; choose another format, or neither start nor end")
        end = math.inf if self.end_seconds is None else self.end_seconds
        if not 0 <= self.start_seconds < end:
            raise ConfigError(
                f"the part from {self.start_seconds} to {self.end_seconds} seconds holds nothing; allowed: a "
                "start of 0 or more, and an end after it"
            )
        if self.bitrate_kbps is not None and self.quality is not None:
            raise ConfigError(
                "bitrate_kbps and quality both say how lossy audio is coded; choose one of them"
            )
        if self.bitrate_kbps is not None and not 8 <= self.bitrate_kbps <= 512:
            raise ConfigError(f"bitrate_kbps={self.bitrate_kbps}: choose 8 to 512 kbit/s")
        if self.quality is not None and not 0 <= self.quality <= 10:
            raise ConfigError(f"quality={self.quality}: choose 0 to 10")


DEFAULT_OPTIONS = FileOptions()


@dataclass(frozen=True)
class SeparatedFile:
    """What `Separator.separate_file` wrote.

    Attributes:
        info: the input.
        paths: stem -> file; with `FileOptions.mix` "mix" -> file, and "stems" -> file where one file holds
            all. Empty where the stems went to file objects.
        n_clipped: samples whose value did not fit the output's integers and was saturated.
        peaks: stem -> largest absolute sample, full scale being 1, before lossy coding.
        null_residual: largest |sum of the stems - mixture| before lossy coding, full scale being 1; 0 where
            whole numbers were written of at least the song's depth and nothing was saturated; None where
            not all stems were written, or at another sample rate.
        notes: what a user should know, though nothing failed.
    """

    info: AudioInfo
    paths: dict[str, Path]
    n_clipped: int
    peaks: dict[str, float]
    null_residual: float | None
    notes: tuple[str, ...] = ()


def stem_paths(
    model: str,
    song: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    template: str = TEMPLATE,
    container: str,
    stems: tuple[str, ...] = STEMS,
) -> dict[str, Path]:
    """Where the stems of a song go: stem -> path below the folder `out`.

    Raises:
        ConfigError: a template with an unknown field, or one that gives two stems the same path.
    """
    song = Path(song)
    special = {"VIDEO": video_extension(song), "STEM.MP4": ".stem.mp4"}
    extension = (EXTENSIONS | special).get(container, "").removeprefix(".")
    fields = {"model": model, "parent": "", "track": song.stem, "name": song.name, "ext": extension}
    try:
        paths = {
            stem: Path(
                out, template.format(stem=song.stem if stem == "stems" else stem, **fields).lstrip("/")
            )
            for stem in stems
        }
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"template {template!r}: {error}; its fields are {{model}}, {{parent}}, {{track}}, {{name}}, "
            "{stem}, {ext} and the columns of a table"
        ) from error
    if len(set(map(os.path.abspath, paths.values()))) < len(stems):
        raise ConfigError(f"template {template!r} gives both stems one path; put {{stem}} into it")
    return paths


class StemFiles:
    """The open files of a song's stems, which appear when the context ends well.

    Integers stay integers: where the output has whole-number samples, the stems sum to the mixture bit
    for bit, and a stem that would leave the range is saturated, its partner taking the rest.

    Args:
        song: the open song.
        model: name of the model.
        out: folder for the stems, or stem -> binary file object.
        options: what is written.

    Attributes:
        start: first sample of the song's part that is separated.
        stop: the sample after its last.

    Raises:
        AudioError: a format that cannot hold the song, a stem that would overwrite it; once entered, a stem
            that cannot be written.
        ConfigError: a template that cannot be used, a part that the song has not, or an encoding that the
            format has not.
    """

    def __init__(
        self,
        song: AudioReader,
        *,
        model: str,
        out: str | os.PathLike[str] | Mapping[str, BinaryIO],
        options: FileOptions,
    ) -> None:
        self.info = info = song.info
        self.start, self.stop = _part(song.name, info, options)
        container, subtype = output_format(info, container=options.container, subtype=options.subtype)
        self._bits_out, self._double = depth(subtype), subtype == "DOUBLE"
        self.paths: dict[str, Path] = {}
        if isinstance(out, Mapping):
            if set(out) != set(options.written):
                wanted = ", ".join(options.written)
                raise ConfigError(f"out has the file objects {', '.join(out)}; give one for each of {wanted}")
        else:
            self.paths = stem_paths(
                model, song.path, out, template=options.template, container=container, stems=options.written
            )
            _refuse_overwriting(song.path, self.paths.values())
            _refuse_outside(Path(out), self.paths.values())
        self._names, self._tracks = options.written, options.tracks
        self._outputs = stem_outputs(
            out if isinstance(out, Mapping) else self.paths,
            options.tracks,
            song=song,
            part=(self.start, self.stop),
            container=container,
            subtype=subtype,
            bitrate_kbps=options.bitrate_kbps,
            quality=options.quality,
        )
        self._notes = list(self._outputs.notes)
        if self._outputs.resampled:
            self._notes.append(
                f"{song.name}: the stems are resampled from {info.sample_rate} to 48000 Hz, which Opus "
                "needs; no exact sum is promised for them"
            )
        self._gains = {stem: 10 ** (level / 20) for stem, level in (options.mix or {}).items()}
        self._n_clipped = 0
        self._peaks = dict.fromkeys(options.tracks, 0.0)
        self._residual = 0.0 if options.tracks == STEMS and not self._outputs.resampled else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for file in self._outputs.files:
                stack.enter_context(file)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @property
    def result(self) -> SeparatedFile:
        """What was written, once it is complete."""
        notes = dict.fromkeys([*self._notes, *(note for file in self._outputs.files for note in file.notes)])
        peaks = self._peaks
        if self._names != self._tracks:  # all stems in one file
            peaks = dict.fromkeys(self._names, max(peaks.values()))
        return SeparatedFile(self.info, self.paths, self._n_clipped, peaks, self._residual, tuple(notes))

    def write(self, mixture: NDArray[Any], vocals: NDArray[np.float32]) -> None:
        """Append a block of the mixture, in the file's own numbers, divided by the estimate of its vocals."""
        bits, bits_out = self.info.bits, self._bits_out
        if self._gains:
            mixed, n_clipped = mix_block(
                mixture, vocals, self._gains, bits=bits, bits_out=bits_out, double=self._double
            )
            stems = {"mix": mixed}
        else:
            stems, n_clipped = split_block(
                mixture, vocals, bits=bits, bits_out=bits_out, double=self._double, stems=self._tracks
            )
        full_scale = 1.0 if bits_out is None else 2.0 ** (bits_out - 1)
        for name, track in self._outputs.tracks.items():
            track.write(to_real(mixture, bits) if name == "mixture" else stems[name])
        for stem, block in stems.items():
            peak = max(-float(block.min()), float(block.max())) / full_scale
            self._peaks[stem] = max(self._peaks[stem], peak)
        if self._residual is not None:
            self._residual = max(self._residual, null_residual(mixture, bits, stems, bits_out))
        self._n_clipped += n_clipped


def _part(song: str, info: AudioInfo, options: FileOptions) -> tuple[int, int]:
    """The first sample of the part that is separated, and the one after its last."""
    start = round(options.start_seconds * info.sample_rate)
    end = options.end_seconds
    stop = info.n_samples if end is None else round(end * info.sample_rate)
    if not start < stop <= info.n_samples:
        asked = "seconds to its end" if end is None else f"to {end:g} seconds"
        length = info.n_samples / info.sample_rate
        raise ConfigError(
            f"{song} has no part from {options.start_seconds:g} {asked}: it lasts {length:.3f} seconds"
        )
    return start, stop


def _refuse_overwriting(source: Path, targets: Iterable[Path]) -> None:
    for target in targets:
        if target.exists() and source.exists() and target.samefile(source):
            raise AudioError(f"{target}: would overwrite the song itself; choose another output folder")


def _refuse_outside(out: Path, targets: Iterable[Path]) -> None:
    """Whatever `..`, symbolic links or the names of a list and its columns say."""
    top = out.resolve()
    for target in targets:
        if not (target.parent.resolve() / target.name).is_relative_to(top):
            raise AudioError(
                f"{os.path.relpath(target, out)} lies outside of the output folder; choose another "
                "template or output folder"
            )
