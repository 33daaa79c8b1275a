"""A bundle: one ONNX file that holds a trained network and all that is needed to run it.

The graph maps a magnitude spectrogram "magnitude" (batch_size, n_bins, n_frames) to "masks" (batch_size,
n_sources, n_bins, n_frames) in [0, 1]. The metadata lie in the file itself, as JSON under the key "duetto".
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from duetto._waveform import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from duetto.errors import ModelError
from duetto.stft import STFT, Window

FORMAT_VERSION = 1
METADATA_KEY = "duetto"
DEFAULT_MODEL = "drnn"

_RUNTIME_ERRORS = (
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NotImplemented,
    ort.RuntimeException,
    UnicodeDecodeError,  # a damaged name
)


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
        input: kind of the network's input; "magnitude" is the only one so far.
        sources: names of the sources in the order of the graph's masks.
        causal: whether a mask depends on no later frame than `look_ahead` ahead.
        look_ahead: frames.
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
    input: str
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

    @property
    def stft(self) -> STFT:
        """The transform that the network was trained on, at its own sample rate."""
        return STFT(n_fft=self.n_fft, hop_length=self.hop_length, window=self.window)

    @property
    def segment_seconds(self) -> float:
        """Length of the pieces that a network sees, many times what it remembers."""
        return 12.0

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
    for key in sorted(fields.keys() - values.keys()):
        raise ModelError(f"{origin}: its metadata lack {key!r}; export it again")
    for key in sorted(values.keys() - fields.keys()):
        raise ModelError(f"{origin}: its metadata hold an unknown key {key!r}; export it again")
    for key, annotation in fields.items():
        expected = str if annotation is Window else getattr(annotation, "__origin__", annotation)
        if type(values[key]) is not expected:
            wanted = expected.__name__  # type: ignore[union-attr]  # all are plain classes here
            raise ModelError(f"{origin}: metadata {key!r} is {values[key]!r}, not of type {wanted}")


def _check_values(metadata: "BundleMetadata", origin: str) -> None:
    """Refuse what no network of ours can have, before it makes an error that speaks of something else."""
    sources, rate, n_fft = metadata.sources, metadata.sample_rate, metadata.n_fft
    shortest = rate // 1000  # a hop of under a millisecond may have no samples left at the lowest sample rate
    longest = n_fft // 2
    allowed: dict[str, tuple[bool, str]] = {
        "format_version": (metadata.format_version >= 1, "1 or more"),
        "name": (re.fullmatch(r"\w[\w.+-]*", metadata.name) is not None, "letters, digits and . _ + -"),
        "input": (metadata.input == "magnitude", "'magnitude'"),
        "window": (metadata.window in ("sine", "hann"), "'sine' or 'hann'"),
        "sample_rate": (MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE, "8000 to 192000 Hz"),
        "n_fft": (n_fft % 2 == 0 and 2 * shortest <= n_fft <= rate, f"even, {2 * shortest} to {rate}"),
        "hop_length": (shortest <= metadata.hop_length <= longest, f"{shortest} to {longest}"),
        "look_ahead": (metadata.look_ahead >= 0, "0 or more"),
        "sources": (sorted(map(str, sources)) == ["accompaniment", "vocals"], "vocals and accompaniment"),
        "probe": (all(isinstance(value, float) for value in metadata.probe), "numbers"),
    }
    for key, (is_good, wanted) in allowed.items():
        if not is_good:
            raise ModelError(
                f"{origin}: metadata {key!r} is {getattr(metadata, key)!r}, allowed: {wanted}; "
                "export it again or run pip install --upgrade duetto"
            )


def probe_input(n_bins: int, n_frames: int = 9) -> NDArray[np.float32]:
    """The fixed magnitude (1, n_bins, n_frames) on which a bundle's known answer was taken."""
    bins, frames = np.arange(n_bins)[:, None], np.arange(n_frames)
    return (1 + np.sin(0.37 * bins + 1.3 * frames + 0.01 * bins * frames)).astype(np.float32)[None]


def probe_answer(masks: NDArray[np.float32]) -> list[float]:
    """Eight numbers that stand for the masks of `probe_input`: means over bands of the first source."""
    return [round(float(band.mean()), 6) for band in np.array_split(masks[0, 0], 8)]


class Bundle:
    """An open bundle; thread-safe, the network is loaded once.

    Args:
        path: the file.

    Raises:
        ModelError: no such file, or not a bundle that this version can run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ModelError(f"{self.path}: cannot read the bundle: {error.strerror}") from error
        self.n_bytes = len(content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the Separator runs segments side by side, which scales better
        options.enable_cpu_mem_arena = False  # the arena keeps the largest batch of every size it has seen
        options.log_severity_level = 4  # a failure is raised; the runtime need not print it as well
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
            held = self._session.get_modelmeta().custom_metadata_map
        except _RUNTIME_ERRORS as error:
            raise ModelError(
                f"{self.path}: damaged, or not an ONNX file that can be run: fetch or export it again "
                f"({str(error).splitlines()[0]:.200})"
            ) from error
        if METADATA_KEY not in held:
            raise ModelError(
                f"{self.path}: an ONNX file, but not a Duetto bundle: it has no {METADATA_KEY!r} metadata; "
                "make one with duetto export"
            )
        self.metadata = BundleMetadata.from_json(held[METADATA_KEY], origin=str(self.path))
        self._check_graph()

    def _check_graph(self) -> None:
        """Ask for the masks of two frames."""
        n_bins = self.metadata.stft.n_bins
        promise = f"masks (1, 2, {n_bins}, 2) of a magnitude (1, {n_bins}, 2)"
        try:
            masks = self.masks(probe_input(n_bins, 2))
        except (*_RUNTIME_ERRORS, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{self.path}: its metadata promise {promise}, its graph fails on it: {reason:.200}; "
                "export it again"
            ) from error
        if masks.shape != (1, 2, n_bins, 2) or masks.dtype != np.float32:
            raise ModelError(
                f"{self.path}: its metadata promise {promise}, its graph gives {masks.dtype} {masks.shape}; "
                "export it again"
            )

    def masks(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """Magnitude (batch_size, n_bins, n_frames) to masks (batch_size, n_sources, n_bins, n_frames)."""
        masks: NDArray[np.float32] = self._session.run(["masks"], {"magnitude": magnitude})[0]
        return masks

    def verify(self) -> None:
        """Run the network on a fixed input and compare with the answer recorded at export.

        Raises:
            ModelError: the answer differs: the weights are damaged or the runtime is at fault.
        """
        answer = probe_answer(self.masks(probe_input(self.metadata.stft.n_bins)))
        if len(answer) != len(self.metadata.probe) or not np.allclose(answer, self.metadata.probe, atol=1e-4):
            raise ModelError(
                f"{self.path}: the network answers {answer}, at export it answered {self.metadata.probe}: "
                "the file is damaged; fetch or export it again"
            )


def list_bundles() -> dict[str, Path]:
    """The bundles that ship: name -> path."""
    folder = Path(str(resources.files("duetto") / "models"))
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}
