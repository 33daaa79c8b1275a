"""What an estimator says of itself; of a bundle, as JSON in its file: every key known, typed and in range."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from duetto.audio.waveform import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from duetto.dsp.stft import STFT, Window
from duetto.errors import ModelError

FORMAT_VERSION = 5
"""1 knew no bundles that stream, 2 none that see spectrograms, 3 none of several passes, 4 none in pieces."""

MAX_PASSES = 9

Input = Literal["magnitude", "spectrogram"]


class EstimatorMetadata(Protocol):
    """What an estimator says of itself: `BundleMetadata`, or `MethodMetadata`."""

    @property
    def name(self) -> str:
        """The name users call it by."""

    @property
    def sample_rate(self) -> int:
        """Hertz, at which its transform is meant."""

    @property
    def stft(self) -> STFT:
        """Its transform at that rate."""

    @property
    def input(self) -> Input:
        """What it sees: the magnitude of all channels together, or complex spectrograms."""

    @property
    def n_channels(self) -> int:
        """Of a complex spectrogram: 1 is the middle of the song's channels, 2 the side as well."""

    @property
    def sources(self) -> Sequence[str]:
        """Names of the sources in the order of its masks."""

    @property
    def segment_seconds(self) -> float:
        """Length of the pieces that it likes to see."""

    @property
    def overlap_seconds(self) -> float:
        """How much neighbouring pieces should share."""

    @property
    def causal(self) -> bool:
        """Whether a mask depends on no later frame than `look_ahead` ahead."""

    @property
    def look_ahead(self) -> int:
        """Frames."""

    @property
    def streams(self) -> bool:
        """Whether it carries a state from piece to piece."""

    @property
    def look_back(self) -> int:
        """Frames before a piece that it then sees again."""

    @property
    def first_frames(self) -> int:
        """Of the first piece of a spectrogram that it takes in pieces, at least; 0: it takes none."""

    @property
    def frame_grid(self) -> int:
        """A song that begins so many frames later, or a multiple of them, has the same masks as late."""

    @property
    def n_passes(self) -> int:
        """How often it likes to hear a song, each time at another speed; see `Separator`."""


@dataclass(frozen=True, kw_only=True)
class BundleMetadata:
    """What a bundle says of itself.

    Attributes:
        format_version: of these keys and of the graph's inputs and outputs.
        name: the name users call it by.
        summary: one line: which network, for what.
        sample_rate: hertz, at which the network was trained.
        n_fft: samples in a frame at that rate.
        hop_length: samples between frames at that rate.
        window: "sine" or "hann".
        input: what the network sees, "magnitude" or "spectrogram"; see `duetto.models.onnx_model`.
        n_channels: of a spectrogram: 1 is the middle of the song's channels, 2 the side as well.
        sources: names of the sources in the order of the graph's masks.
        causal: whether a mask depends on no later frame than `look_ahead` ahead.
        look_ahead: frames.
        streams: whether the graph carries a state from piece to piece.
        look_back: frames before a piece that such a graph sees again.
        first_frames: at least, of the first piece of a spectrogram that the graph takes in pieces, each of
            which carries on where the one before ended; 0 if it takes none.
        frame_grid: a song that begins so many frames later has the same masks as late.
        n_passes: how often it hears a song, each time at another speed.
        n_parameters: weights of the network.
        recipe: the resolved configuration that trained it.
        training_data: what it was trained on.
        licence: of the weights.
        metrics: scores with the protocol that gave them.
        project_version: of the Duetto that exported it.
        probe: masks that the graph gave for `probe_input` when it was exported; `Bundle.verify` asks again.
    """

    format_version: int
    name: str
    summary: str
    sample_rate: int
    n_fft: int
    hop_length: int
    window: Window
    input: Input
    sources: list[str]
    causal: bool
    look_ahead: int
    n_parameters: int
    recipe: dict[str, Any]
    training_data: str
    licence: str
    metrics: dict[str, Any]
    project_version: str
    probe: list[float]
    streams: bool = False
    look_back: int = 0
    n_channels: int = 1
    frame_grid: int = 1
    first_frames: int = 0
    n_passes: int = 1

    @property
    def stft(self) -> STFT:
        """The transform that the network was trained on, at its own sample rate."""
        return STFT(n_fft=self.n_fft, hop_length=self.hop_length, window=self.window)

    @property
    def segment_seconds(self) -> float:
        """Length of the pieces that a network sees, many times what it remembers, but held in memory."""
        if self.first_frames:
            return 10.24
        return 12.0 if self.input == "magnitude" else 12.76  # 320 frames of 40 ms, a multiple of their grid

    @property
    def overlap_seconds(self) -> float:
        """How much neighbouring pieces share: a recurrent network warms up in it."""
        return 2.0 if self.input == "magnitude" else 4.44

    def to_json(self) -> str:
        """The text that goes into the file."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> "BundleMetadata":
        """Read what `to_json` wrote.

        Raises:
            ModelError: not JSON, too new, or a key is missing, foreign, ill-typed or out of range; `origin`
                is the file.
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
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ModelError(
                f"{origin}: bundle format {version} is newer than {FORMAT_VERSION}, the newest known here; "
                "run pip install --upgrade duetto"
            )
        _check_types(cls, values, origin)
        metadata = cls(**values)
        _check_values(metadata, origin)
        return metadata


def _check_types(cls: type, values: Mapping[str, Any], origin: str) -> None:
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    needed = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
    for key in sorted(needed - values.keys()):
        raise ModelError(f"{origin}: its metadata lack {key!r}; export it again")
    for key in sorted(values.keys() - fields.keys()):
        raise ModelError(f"{origin}: its metadata hold an unknown key {key!r}; export it again")
    for key in values:
        annotation = fields[key]
        expected = str if annotation in (Window, Input) else getattr(annotation, "__origin__", annotation)
        if type(values[key]) is not expected:
            wanted = expected.__name__  # type: ignore[union-attr]  # all are plain classes here
            raise ModelError(f"{origin}: metadata {key!r} is {values[key]!r}, not of type {wanted}")


def _check_values(metadata: "BundleMetadata", origin: str) -> None:
    """Refuse what no network of ours can have, before it makes an error that speaks of something else."""
    sources, rate, n_fft = metadata.sources, metadata.sample_rate, metadata.n_fft
    shortest = rate // 1000  # a hop of under a millisecond may have no samples left at the lowest sample rate
    longest = n_fft // 2
    most = 65536 if metadata.input == "spectrogram" else 0
    allowed: dict[str, tuple[bool, str]] = {
        "format_version": (metadata.format_version >= 1, "1 or more"),
        "name": (re.fullmatch(r"\w[\w.+-]*", metadata.name) is not None, "letters, digits and . _ + -"),
        "input": (metadata.input in ("magnitude", "spectrogram"), "'magnitude' or 'spectrogram'"),
        "frame_grid": (1 <= metadata.frame_grid <= 1024, "1 to 1024"),
        "n_channels": (metadata.n_channels in (1, 2), "1 or 2"),
        "n_passes": (1 <= metadata.n_passes <= MAX_PASSES, f"1 to {MAX_PASSES}"),
        "window": (metadata.window in ("sine", "hann"), "'sine' or 'hann'"),
        "sample_rate": (MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE, "8000 to 192000 Hz"),
        "n_fft": (n_fft % 2 == 0 and 2 * shortest <= n_fft <= rate, f"even, {2 * shortest} to {rate}"),
        "hop_length": (shortest <= metadata.hop_length <= longest, f"{shortest} to {longest}"),
        "look_ahead": (metadata.look_ahead >= 0, "0 or more"),
        "look_back": (metadata.look_back >= 0, "0 or more"),
        "first_frames": (0 <= metadata.first_frames <= most, f"0 to {most}"),
        "streams": (metadata.causal or not metadata.streams, "false, since it is not causal"),
        "sources": (sorted(map(str, sources)) == ["accompaniment", "vocals"], "vocals and accompaniment"),
        "probe": (all(isinstance(value, float) for value in metadata.probe), "numbers"),
    }
    for key, (is_good, wanted) in allowed.items():
        if not is_good:
            raise ModelError(
                f"{origin}: metadata {key!r} is {getattr(metadata, key)!r}, allowed: {wanted}; "
                "export it again or run pip install --upgrade duetto"
            )
