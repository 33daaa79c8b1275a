"""The metadata of a model, a network or a conventional method; those of a network are JSON in its file."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_origin

from duetto.audio.waveform import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from duetto.dsp.stft import STFT, Window
from duetto.errors import ModelError

FORMAT_VERSION = 6
MAX_PASSES = 9
MAX_FRAMES = 65536

Input = Literal["magnitude", "spectrogram"]


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The metadata of a network or of a conventional method.

    Attributes:
        format_version: of these keys and of the inputs and outputs of the graph in a model file.
        name: the name that users choose it by.
        summary: one line: which model, for what.
        paper: where the method was published.
        sample_rate: sample rate in Hz that n_fft and hop_length refer to.
        n_fft: samples in a frame at that rate.
        hop_length: samples between frames at that rate.
        window: "sine" or "hann".
        input: "magnitude", of all channels together, or "spectrogram", complex; see `OnnxModel`.
        n_channels: channels of a complex spectrogram: 1 is the mid of the song, 2 its mid and side.
        sources: names of the sources in the order of the masks.
        segment_seconds: length of the segments or chunks that a song is separated in.
        overlap_seconds: overlap of neighbouring segments, for models without a state.
        first_frames: smallest number of frames of the first chunk of a stateful model; 0 for a model without
            a state.
        frame_grid: the number of frames of every chunk but the last is a multiple of this number; for a model
            without a state, so is the first frame of every segment.
        look_ahead: number of later frames that a mask depends on, by which the masks of a stateful model are
            delayed.
        stream_frames: number of frames of a chunk of a live stream; 0 for chunks of `segment_seconds`.
        n_passes: passes of test-time augmentation by default; see `Separator`.
        n_parameters: number of weights of the network.
        recipe: the resolved configuration that trained it.
        training_data: what it was trained on.
        licence: of the weights.
        metrics: scores with the protocol that gave them.
        project_version: of the Duetto that exported it.
        probe: eight means of the masks of a fixed input at export, which `OnnxModel.verify` compares.
    """

    format_version: int = FORMAT_VERSION
    name: str
    summary: str
    paper: str = ""
    sample_rate: int = 16_000
    n_fft: int
    hop_length: int
    window: Window
    input: Input = "magnitude"
    n_channels: int = 1
    sources: tuple[str, ...] = ("vocals", "accompaniment")
    segment_seconds: float = 10.24
    overlap_seconds: float = 2.0
    first_frames: int = 0
    frame_grid: int = 1
    look_ahead: int = 0
    stream_frames: int = 0
    n_passes: int = 1
    n_parameters: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)
    training_data: str = ""
    licence: str = "MIT"
    metrics: dict[str, Any] = field(default_factory=dict)
    project_version: str = ""
    probe: tuple[float, ...] = ()

    @property
    def stft(self) -> STFT:
        """The transform at the model's own sample rate."""
        return STFT(n_fft=self.n_fft, hop_length=self.hop_length, window=self.window)

    @property
    def is_stateful(self) -> bool:
        """Whether the model carries a state from chunk to chunk; see `StatefulModel`."""
        return self.first_frames > 0

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> "ModelMetadata":
        """Read what `to_json` wrote.

        Raises:
            ModelError: not JSON, of another format version, or a key is missing, unknown, ill-typed or out of
                range; `origin` is the file.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ModelError(
                f"{origin}: its metadata are not valid JSON ({error}); export it again"
            ) from error
        if not isinstance(values, dict):
            raise ModelError(f"{origin}: its metadata are not a JSON object; export it again")
        version = values.get("format_version")
        if type(version) is int and version != FORMAT_VERSION:
            advice = "export it again" if version < FORMAT_VERSION else "install a newer version of Duetto"
            raise ModelError(
                f"{origin}: model format {version}, this version of Duetto reads {FORMAT_VERSION}; {advice}"
            )
        _check_types(cls, values, origin)
        values |= {key: tuple(values[key]) for key in ("sources", "probe")}
        metadata = cls(**values)
        _check_values(metadata, origin)
        return metadata


def _check_types(cls: type, values: Mapping[str, Any], origin: str) -> None:
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    for key in sorted(fields.keys() - values.keys()):
        raise ModelError(f"{origin}: its metadata lack {key!r}; export it again")
    for key in sorted(values.keys() - fields.keys()):
        raise ModelError(f"{origin}: its metadata hold an unknown key {key!r}; export it again")
    for key, value in values.items():
        kind: Any = get_origin(fields[key]) or fields[key]
        expected = {Literal: str, tuple: list}.get(kind, kind)
        if type(value) is not expected:
            raise ModelError(f"{origin}: metadata {key!r} is {value!r}, not of type {expected.__name__}")


def _check_values(metadata: ModelMetadata, origin: str) -> None:
    """Refuse values that no model can have, before they raise an error about something else."""
    sources, rate, n_fft = metadata.sources, metadata.sample_rate, metadata.n_fft
    shortest = rate // 1000  # a hop of under a millisecond may have no samples left at the lowest sample rate
    longest = n_fft // 2
    most = MAX_FRAMES if metadata.is_stateful else 0
    overlap, segment = metadata.overlap_seconds, metadata.segment_seconds
    allowed: dict[str, tuple[bool, str]] = {
        "name": (re.fullmatch(r"\w[\w.+-]*", metadata.name) is not None, "letters, digits and . _ + -"),
        "input": (metadata.input in ("magnitude", "spectrogram"), "'magnitude' or 'spectrogram'"),
        "n_channels": (metadata.n_channels in (1, 2), "1 or 2"),
        "n_passes": (1 <= metadata.n_passes <= MAX_PASSES, f"1 to {MAX_PASSES}"),
        "window": (metadata.window in ("sine", "hann"), "'sine' or 'hann'"),
        "sample_rate": (MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE, "8000 to 192000 Hz"),
        "n_fft": (n_fft % 2 == 0 and 2 * shortest <= n_fft <= rate, f"even, {2 * shortest} to {rate}"),
        "hop_length": (shortest <= metadata.hop_length <= longest, f"{shortest} to {longest}"),
        "overlap_seconds": (0 < overlap <= segment / 2, "more than 0, at most half a segment"),
        "segment_seconds": (segment <= 3600, "at most 3600"),
        "first_frames": (0 <= metadata.first_frames <= MAX_FRAMES, f"0 to {MAX_FRAMES}"),
        "frame_grid": (1 <= metadata.frame_grid <= 1024, "1 to 1024"),
        "look_ahead": (0 <= metadata.look_ahead <= MAX_FRAMES, f"0 to {MAX_FRAMES}"),
        "stream_frames": (0 <= metadata.stream_frames <= most, f"0 to {most}"),
        "sources": (sorted(map(str, sources)) == ["accompaniment", "vocals"], "vocals and accompaniment"),
        "probe": (all(isinstance(value, float) for value in metadata.probe), "numbers"),
    }
    for key, (is_good, wanted) in allowed.items():
        if not is_good:
            raise ModelError(
                f"{origin}: metadata {key!r} is {getattr(metadata, key)!r}, allowed: {wanted}; "
                "export it again, or install a newer version of Duetto"
            )
