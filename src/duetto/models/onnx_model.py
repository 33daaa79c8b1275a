"""A model file: one ONNX file that holds a trained network and all that is needed to run it.

The graph maps a "magnitude" (batch_size, n_frames, n_bins) to "masks" (batch_size, n_sources, n_frames,
n_bins) in [0, 1]. Or, as its metadata say, it maps a "spectrogram" (batch_size, 2 n_channels, n_frames,
n_bins), the real and the imaginary part of each channel, to the vocals' complex "masks" of the same shape, or
of twice as many channels; see `MaskModel.masks`. The channels are the mid and the side of the
song. The metadata are JSON under the key "duetto".

The graph of a stateful model takes a sequence in chunks, as `StatefulModel.step` describes. It has an input
"is_last", 0 or 1 without dimensions, and inputs "state.0", "state.1", ..., batch_size first. At the start
these are zeros, with no elements along a dimension that has no fixed size, and later what its outputs
"next_state.0", ... were.
"""

import copy
import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from duetto.errors import ModelError
from duetto.models.metadata import ModelMetadata

METADATA_KEY = "duetto"

_RUNTIME_ERRORS = (
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NotImplemented,
    ort.RuntimeException,
    UnicodeDecodeError,  # a damaged name
)


def probe_input(metadata: ModelMetadata, n_frames: int = 9) -> NDArray[Any]:
    """A fixed input of a model, in a batch of 1: the one whose masks are compared with those at export."""
    frames, bins = np.arange(n_frames)[:, None], np.arange(metadata.stft.n_bins)
    magnitude = (1 + np.sin(0.37 * bins + 1.3 * frames + 0.01 * bins * frames)).astype(np.float32)[None]
    if metadata.input == "magnitude":
        return magnitude
    channels = np.arange(1, metadata.n_channels + 1)[:, None, None]
    return (magnitude * np.exp(1j * channels * (0.7 * bins + 2.1 * frames))).astype(np.complex64)[None]


def probe_answer(masks: NDArray[Any]) -> list[float]:
    """Eight numbers that stand for the masks of the probe: means over frequency bands of the first."""
    return [round(float(band.real.mean()), 6) for band in np.array_split(masks[0, 0], 8, axis=-1)]


def to_planes(spectrogram: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Spectrogram (batch_size, n_channels, n_frames, n_bins) as a graph takes it.

    Returns:
        Real and imaginary part of each channel, (batch_size, 2 n_channels, n_frames, n_bins).
    """
    batch_size, n_channels, *shape = spectrogram.shape
    planes = np.empty((batch_size, 2 * n_channels, *shape), np.float32)
    planes[:, 0::2], planes[:, 1::2] = spectrogram.real, spectrogram.imag
    return planes


def from_planes(planes: NDArray[np.float32]) -> NDArray[np.complex64]:
    """The inverse of `to_planes`."""
    spectrogram = np.empty((len(planes), planes.shape[1] // 2, *planes.shape[2:]), np.complex64)
    spectrogram.real, spectrogram.imag = planes[:, 0::2], planes[:, 1::2]
    return spectrogram


class OnnxModel:
    """An open model file; thread-safe.

    It can be sent to another process or machine, which needs no file for it.

    Args:
        path: the file.
        n_threads: on which the network runs.

    Attributes:
        metadata: what describes the model.
        n_bytes: of the file.
        sha256: of its bytes, in hexadecimal.

    Raises:
        ModelError: no such file, or not a model file that this version can run.
    """

    def __init__(self, path: str | os.PathLike[str], *, n_threads: int = 1) -> None:
        self.path = Path(path)
        self.n_threads = n_threads
        try:
            self._content = self.path.read_bytes()
        except OSError as error:
            raise ModelError(f"{self.path}: cannot read the model file: {error.strerror}") from error
        self.n_bytes = len(self._content)
        self.sha256 = hashlib.sha256(self._content).hexdigest()
        try:
            held = self._session.get_modelmeta().custom_metadata_map
        except _RUNTIME_ERRORS as error:
            raise ModelError(
                f"{self.path}: damaged, or not an ONNX file that can be run: fetch or export it again "
                f"({str(error).splitlines()[0]:.200})"
            ) from error
        if METADATA_KEY not in held:
            raise ModelError(
                f"{self.path}: an ONNX file, but not a Duetto model: it has no {METADATA_KEY!r} metadata; "
                "make one with duetto export"
            )
        self.metadata = ModelMetadata.from_json(held[METADATA_KEY], origin=str(self.path))
        self._check_graph()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.n_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # there is other work to do
        options.enable_mem_pattern = False  # memory planned for one length serves no segment of another
        options.log_severity_level = 4  # a failure is raised; the runtime need not print it as well
        return onnxruntime.InferenceSession(
            self._content, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )

    def __getstate__(self) -> dict[str, Any]:
        """A copy, here or in another process, opens a session of its own when it first needs one."""
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    def on_threads(self, n_threads: int) -> "OnnxModel":
        """The same model on another number of threads."""
        if n_threads == self.n_threads:
            return self
        other = copy.copy(self)
        other.n_threads = n_threads
        return other

    def _check_graph(self) -> None:
        """Ask for the masks of two frames."""
        probe = probe_input(self.metadata, 2)
        _, *shape = probe.shape
        if self.metadata.input == "magnitude":
            shapes = [(1, 2, *shape)]
        else:
            shapes = [(1, n * shape[0], *shape[1:]) for n in range(1, self.metadata.n_channels + 1)]
        promise = f"masks {' or '.join(map(str, shapes))} of a {self.metadata.input} {probe.shape}"
        try:
            masks = self.masks(probe)
        except (*_RUNTIME_ERRORS, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{self.path}: its metadata promise {promise}, its graph fails on it: {reason:.200}; "
                "export it again"
            ) from error
        if masks.shape not in shapes or masks.dtype != probe.dtype:
            raise ModelError(
                f"{self.path}: its metadata promise {promise}, its graph gives {masks.dtype} {masks.shape}; "
                "export it again"
            )

    def masks(self, x: NDArray[Any]) -> NDArray[Any]:
        """The masks of a whole sequence; see `MaskModel.masks`."""
        if self.metadata.is_stateful:
            return self.step(x, None, is_last=True)[0]
        return self._run(x, {}, [])[0]

    def step(
        self, x: NDArray[Any], state: Sequence[NDArray[Any]] | None, /, *, is_last: bool
    ) -> tuple[NDArray[Any], Sequence[NDArray[Any]]]:
        """The masks that are next, and the state; see `StatefulModel.step`."""
        if state is None:
            state = [np.zeros((len(x), *shape), np.float32) for shape in self._state_shapes.values()]
        inputs = {"is_last": np.array(int(is_last)), **dict(zip(self._state_shapes, state, strict=True))}
        return self._run(x, inputs, [f"next_{name}" for name in self._state_shapes])

    def _run(
        self, x: NDArray[Any], inputs: dict[str, NDArray[Any]], outputs: list[str]
    ) -> tuple[NDArray[Any], Sequence[NDArray[Any]]]:
        is_complex = self.metadata.input == "spectrogram"
        inputs[self.metadata.input] = to_planes(x) if is_complex else x
        masks, *state = self._session.run(["masks", *outputs], inputs)
        return from_planes(masks) if is_complex else masks, state

    @cached_property
    def _state_shapes(self) -> dict[str, list[int]]:
        """Of the state at the start, without the batch; of no elements along a dimension of no fixed size."""
        return {
            put.name: [size if isinstance(size, int) else 0 for size in put.shape[1:]]
            for put in self._session.get_inputs()
            if put.name.startswith("state.")
        }

    def verify(self) -> None:
        """Run the network on a fixed input and compare with the answer recorded at export.

        Raises:
            ModelError: the answer differs: the weights are damaged or the runtime is at fault.
        """
        answer = probe_answer(self.masks(probe_input(self.metadata)))
        if len(answer) != len(self.metadata.probe) or not np.allclose(answer, self.metadata.probe, atol=1e-4):
            raise ModelError(
                f"{self.path}: the network answers {answer}, at export it answered {self.metadata.probe}: "
                "the file is damaged; fetch or export it again"
            )
