"""Tracks with their sources, and how the files of a track are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto.audio import AudioReader, load_audio
from duetto.audio.stem_mp4 import stem_names
from duetto.errors import AudioError, DatasetError

Waveform = NDArray[np.float32]

SUNG = "vocals"
"""What the names of the sung tracks of a multitrack song begin with, in upper or lower case."""

_AAC_FRAME = 1024  # samples; where no length is stated, the last frame is padded


@dataclass(frozen=True, eq=False)
class TrackAudio:
    """The audio of a track.

    Attributes:
        sources: "vocals" and "accompaniment", each float32 of shape (n_channels, n_samples).
        sample_rate: in hertz.
    """

    sources: dict[str, Waveform]
    sample_rate: int

    @cached_property
    def mixture(self) -> Waveform:
        """The sum of the sources, shape (n_channels, n_samples); it may exceed [-1, 1]."""
        return self.sources["vocals"] + self.sources["accompaniment"]


@dataclass(frozen=True)
class Track:
    """One song, or one clip of a song, with its sources.

    Attributes:
        name: unique in its dataset.
        song: the song that it belongs to; splits and bootstrap keep the tracks of one song together.
        singer: if the dataset names one.
        load: reads the audio, without a cache; it can be pickled.
        files: of a multitrack song the files of its tracks, which sum to the sources; else empty.
    """

    name: str
    song: str
    singer: str | None
    load: Callable[[], TrackAudio]
    files: tuple[Path, ...] = ()


def is_sung(path: Path) -> bool:
    """Whether a track of a multitrack song is sung, by the name of its file."""
    return path.name.lower().startswith(SUNG)


def _header(path: Path) -> tuple[int, int, int]:
    """(sample_rate, n_channels, n_samples) of a file."""
    with AudioReader(path) as reader:
        return reader.info.sample_rate, reader.info.n_channels, reader.info.n_samples


def clip_loader(path: Path, sample_rate: int, *, at_equal_energy: bool) -> Callable[[], TrackAudio]:
    """Check the header of a clip with one source in each channel, and return its loader."""
    found_rate, n_channels, _ = _header(path)
    if (found_rate, n_channels) != (sample_rate, 2):
        raise DatasetError(
            f"{path}: {n_channels} channel(s) at {found_rate} Hz; a clip has 2 at {sample_rate} Hz, "
            "left the accompaniment and right the vocals; replace or remove the file"
        )
    return partial(_load_clip, path, at_equal_energy=at_equal_energy)


def files_loader(vocals: Path, *parts: Path) -> Callable[[], TrackAudio]:
    """Compare the headers of a track's files, one for each source, and return its loader."""
    _check_equal_shapes({path: _header(path) for path in (vocals, *parts)})
    return partial(_load_files, vocals, parts)


def song_loader(files: Sequence[Path]) -> Callable[[], TrackAudio]:
    """Compare the headers of the tracks of a multitrack song, and return the loader of their sums.

    Their lengths may differ; mono and stereo may be mixed.
    """
    headers = {path: _header(path) for path in files}
    rates = {sample_rate: path for path, (sample_rate, _, _) in headers.items()}
    channels = {n_channels: path for path, (_, n_channels, _) in headers.items()}
    for what, found in (("Hz", rates), ("channels", {n: path for n, path in channels.items() if n > 1})):
        if len(found) > 1:
            each = ", ".join(f"{path} has {number} {what}" for number, path in sorted(found.items()))
            raise DatasetError(f"the tracks of a song must be alike, but {each}; convert some of them")
    return partial(_load_song, tuple(files))


def stems_loader(path: Path) -> Callable[[], TrackAudio]:
    """Find the vocals among the tracks of a file of the Stem format, and return its loader."""
    try:
        names = stem_names(path)
    except AudioError as error:
        raise DatasetError(str(error)) from error
    are_vocals = ["vocal" in name.lower() for name in names]
    if all(are_vocals) or not any(are_vocals):
        listed = ", ".join(names) or "none"
        raise DatasetError(f"{path} needs a stem that is named vocals, and others; its stems: {listed}")
    return partial(_load_stems, path, are_vocals)


def _check_equal_shapes(found: Mapping[Path, tuple[int, int, int]]) -> None:
    """Check that files have the same (sample_rate, n_channels, n_samples)."""
    if len(set(found.values())) > 1:
        each = "; ".join(
            f"{path} has {n_samples} samples of {n_channels} channel(s) at {sample_rate} Hz"
            for path, (sample_rate, n_channels, n_samples) in found.items()
        )
        raise DatasetError(f"the sources of a track must be of one shape, but {each}; replace or remove them")


def equal_energy(vocals: Waveform, accompaniment: Waveform) -> Waveform:
    """Scale vocals to the energy of the accompaniment; they stay as they are where one of both is silent."""
    energies = [np.square(source, dtype=np.float64).sum() for source in (accompaniment, vocals)]
    return vocals * np.float32(np.sqrt(energies[0] / energies[1])) if min(energies) > 0 else vocals


def _load_clip(path: Path, *, at_equal_energy: bool) -> TrackAudio:
    """A clip's sources, each (1, n_samples)."""
    audio, sample_rate = load_audio(path)
    accompaniment, vocals = audio[:1], audio[1:]
    if at_equal_energy:
        vocals = equal_energy(vocals, accompaniment)
    return TrackAudio({"vocals": vocals, "accompaniment": accompaniment}, sample_rate)


def _load_files(vocals: Path, parts: tuple[Path, ...]) -> TrackAudio:
    """The vocals and the sum of the other parts, each (n_channels, n_samples)."""
    loaded = {path: load_audio(path) for path in (vocals, *parts)}
    # An MP3's header may promise more samples than there are.
    _check_equal_shapes({path: (sample_rate, *audio.shape) for path, (audio, sample_rate) in loaded.items()})
    accompaniment = sum((loaded[part][0] for part in parts[1:]), loaded[parts[0]][0])
    return TrackAudio({"vocals": loaded[vocals][0], "accompaniment": accompaniment}, loaded[vocals][1])


def _load_song(files: Sequence[Path]) -> TrackAudio:
    """The sum of the sung tracks and the sum of the others, each (n_channels, n_samples)."""
    sources = {name: np.zeros((1, 0), np.float32) for name in ("vocals", "accompaniment")}
    sample_rate = 0
    for path in files:
        audio, sample_rate = load_audio(path)
        name = "vocals" if is_sung(path) else "accompaniment"
        sources[name] = _fitted(sources[name], audio.shape) + _fitted(audio, sources[name].shape)
    vocals, accompaniment = sources.values()
    fitted = {"vocals": _fitted(vocals, accompaniment.shape)}
    fitted["accompaniment"] = _fitted(accompaniment, vocals.shape)
    return TrackAudio(fitted, sample_rate)


def _fitted(waveform: Waveform, shape: tuple[int, ...]) -> Waveform:
    """A waveform with at least this number of channels, alike, and of samples, the last ones silent."""
    n_channels, n_samples = (max(pair) for pair in zip(waveform.shape, shape, strict=True))
    padded = np.pad(waveform, [(0, 0), (0, n_samples - waveform.shape[1])])
    return np.broadcast_to(padded, (n_channels, n_samples))


def _load_stems(path: Path, are_vocals: Sequence[bool]) -> TrackAudio:
    """The sum of the vocals and the sum of the other stems, each (n_channels, n_samples)."""
    loaded = [load_audio(path, audio_track=2 + index) for index in range(len(are_vocals))]
    lengths = [audio.shape[1] for audio, _ in loaded]
    if max(lengths) - min(lengths) >= _AAC_FRAME:
        raise DatasetError(f"{path}: its stems have {lengths} samples, not the same number; replace the file")
    sources = {name: np.zeros_like(loaded[0][0][:, : min(lengths)]) for name in ("vocals", "accompaniment")}
    for (audio, _), is_vocals in zip(loaded, are_vocals, strict=True):
        sources["vocals" if is_vocals else "accompaniment"] += audio[:, : min(lengths)]
    return TrackAudio(sources, loaded[0][1])
