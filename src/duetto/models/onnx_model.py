"""A bundle: one ONNX file that holds a trained network and all that is needed to run it.

The graph maps a magnitude spectrogram "magnitude" (batch_size, n_bins, n_frames) to "masks" (batch_size,
n_sources, n_bins, n_frames) in [0, 1]. Or, as its metadata say, it maps a complex "spectrogram" (batch_size,
2 n_channels, n_frames, n_bins), the real and the imaginary part of each channel, to the vocals' complex
"masks" of the same shape; its channels are the middle of the song's and the side. The metadata lie in the
file itself, as JSON under the key "duetto".

The graph of a bundle that streams sees magnitudes and also works piece by piece. It takes `look_back` frames
before the piece and `look_ahead` after it, and a "state" (batch_size, n_numbers), zeros at first, and gives
with the masks the "next_state", that of the piece that follows. Beyond the ends of a sequence its edge frames
are repeated.

The graph of a bundle whose metadata give a number of `first_frames` takes spectrograms in pieces as well, of
multiples of `frame_grid` frames but for the last. It gives masks `look_ahead` frames late, and all that are
left when the input "follows", a number without dimensions, is 0 and not 1. Its inputs "state.0", "state.1",
... are maps (batch_size, width, n_frames, n_positions), of no frames at first, and later what its outputs
"next_state.0", ... were.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from duetto.errors import ModelError
from duetto.models.metadata import FORMAT_VERSION as FORMAT_VERSION
from duetto.models.metadata import BundleMetadata as BundleMetadata

METADATA_KEY = "duetto"
DEFAULT_MODEL = "duetto"

_RUNTIME_ERRORS = (
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NotImplemented,
    ort.RuntimeException,
    UnicodeDecodeError,  # a damaged name
)


def probe_input(n_bins: int, n_frames: int = 9) -> NDArray[np.float32]:
    """The fixed magnitude (1, n_bins, n_frames) on which a bundle's known answer was taken."""
    bins, frames = np.arange(n_bins)[:, None], np.arange(n_frames)
    return (1 + np.sin(0.37 * bins + 1.3 * frames + 0.01 * bins * frames)).astype(np.float32)[None]


def probe_spectrogram(n_channels: int, n_bins: int, n_frames: int = 9) -> NDArray[np.complex64]:
    """The fixed spectrogram (1, n_channels, n_bins, n_frames) for networks that see spectrograms."""
    bins, frames = np.arange(n_bins)[:, None], np.arange(n_frames)
    turns = np.exp(1j * np.arange(1, n_channels + 1)[:, None, None] * (0.7 * bins + 2.1 * frames))
    return (probe_input(n_bins, n_frames) * turns).astype(np.complex64)[None]


def probe_answer(masks: NDArray[Any]) -> list[float]:
    """Eight numbers that stand for the masks of the probe: means over bands of the first of them."""
    return [round(float(band.real.mean()), 6) for band in np.array_split(masks[0, 0], 8)]


def to_planes(spectrogram: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Spectrogram (batch_size, n_channels, n_bins, n_frames) as a graph takes it; see above."""
    batch_size, n_channels, n_bins, n_frames = spectrogram.shape
    planes = np.empty((batch_size, n_channels, 2, n_frames, n_bins), np.float32)
    planes[:, :, 0] = spectrogram.real.swapaxes(-1, -2)
    planes[:, :, 1] = spectrogram.imag.swapaxes(-1, -2)
    return planes.reshape(batch_size, 2 * n_channels, n_frames, n_bins)


def from_planes(planes: NDArray[np.float32]) -> NDArray[np.complex64]:
    """The inverse of `to_planes`."""
    numbers = np.empty((len(planes), planes.shape[1] // 2, *planes.shape[2:]), np.complex64)
    numbers.real, numbers.imag = planes[:, 0::2], planes[:, 1::2]
    return numbers.swapaxes(-1, -2)


class Bundle:
    """An open bundle; thread-safe, the network is loaded once.

    It can be sent to another process or machine, which needs no file for it.

    Args:
        path: the file.
        content: its bytes, where they were read before.
        n_threads: on which the network runs.

    Attributes:
        sha256: of its bytes, in hexadecimal.

    Raises:
        ModelError: no such file, or not a bundle that this version can run.
    """

    def __init__(
        self, path: str | os.PathLike[str], content: bytes | None = None, *, n_threads: int = 1
    ) -> None:
        self.path = Path(path)
        self.n_threads = n_threads
        try:
            content = self.path.read_bytes() if content is None else content
        except OSError as error:
            raise ModelError(f"{self.path}: cannot read the bundle: {error.strerror}") from error
        self._content = content
        self.n_bytes = len(content)
        self.sha256 = hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # there is other work to do
        options.enable_mem_pattern = False  # set aside in one piece, it serves no segment of another length
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

    def __reduce__(self) -> tuple[type["Bundle"], tuple[Path, bytes]]:
        return Bundle, (self.path, self._content)

    def on_threads(self, n_threads: int) -> "Bundle":
        """The same on so many threads."""
        if n_threads == self.n_threads:
            return self
        return Bundle(self.path, self._content, n_threads=n_threads)

    def _check_graph(self) -> None:
        """Ask for the masks of two frames."""
        probe = self._probe(2)
        shape = (1, 2, *probe.shape[1:]) if self.metadata.input == "magnitude" else probe.shape
        promise = f"masks {shape} of a {self.metadata.input} {probe.shape}"
        try:
            masks = self.masks(probe)
        except (*_RUNTIME_ERRORS, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{self.path}: its metadata promise {promise}, its graph fails on it: {reason:.200}; "
                "export it again"
            ) from error
        if masks.shape != shape or masks.dtype != probe.dtype:
            raise ModelError(
                f"{self.path}: its metadata promise {promise}, its graph gives {masks.dtype} {masks.shape}; "
                "export it again"
            )

    @cached_property
    def _n_state(self) -> int:
        """Numbers in the state that the graph asks for."""
        match [put.shape for put in self._session.get_inputs() if put.name == "state"]:
            case [[_, int(n_state)]]:
                return n_state
        raise ValueError("it has no state (batch_size, n_numbers)")

    def _probe(self, n_frames: int) -> NDArray[Any]:
        n_bins = self.metadata.stft.n_bins
        if self.metadata.input == "magnitude":
            return probe_input(n_bins, n_frames)
        return probe_spectrogram(self.metadata.n_channels, n_bins, n_frames)

    def masks(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Masks of a magnitude or, as the metadata say, of a spectrogram; see `MaskEstimator.masks`."""
        masks: NDArray[np.float32]
        if self.metadata.streams:
            edges = (self.metadata.look_back, self.metadata.look_ahead)
            return self.step(np.pad(seen, [(0, 0), (0, 0), edges], mode="edge"), None)[0]
        if self.metadata.input == "magnitude":
            masks = self._session.run(["masks"], {"magnitude": seen})[0]
            return masks
        if self.metadata.first_frames:
            return self.carry(seen, None, follows=False)[0]
        return from_planes(self._session.run(["masks"], {"spectrogram": to_planes(seen)})[0])

    def step(
        self, magnitude: NDArray[np.float32], state: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Masks of the next piece of a sequence; of a bundle whose metadata say that it streams.

        Args:
            magnitude: (batch_size, n_bins, look_back + n_frames + look_ahead), the piece and its neighbours.
            state: what the step before returned, None at the start.

        Returns:
            Masks (batch_size, n_sources, n_bins, n_frames), and the state after them.
        """
        if state is None:
            state = np.zeros((len(magnitude), self._n_state), np.float32)
        masks, state = self._session.run(["masks", "next_state"], {"magnitude": magnitude, "state": state})
        return masks, state

    def carry(
        self,
        spectrogram: NDArray[np.complex64],
        state: Sequence[NDArray[np.float32]] | None,
        /,
        *,
        follows: bool,
    ) -> tuple[NDArray[np.complex64], Sequence[NDArray[np.float32]]]:
        """The next masks of a spectrogram in pieces; of a bundle whose metadata give `first_frames`.

        Args:
            spectrogram: (batch_size, n_channels, n_bins, n_frames), the next piece; but for the last its
                length is a multiple of `frame_grid`, that of the first `first_frames` or more.
            state: what the step before returned, None at the start.
            follows: whether this is not the last piece.

        Returns:
            The next masks (batch_size, n_channels, n_bins, any n_frames), as many in all as there are
            frames, and the state after them.
        """
        if state is None:
            state = [
                np.zeros((len(spectrogram), width, 0, n_positions), np.float32)
                for width, n_positions in self._maps.values()
            ]
        inputs = {"spectrogram": to_planes(spectrogram), "follows": np.array(int(follows))}
        masks, *state = self._session.run(
            ["masks", *(f"next_{name}" for name in self._maps)],
            inputs | dict(zip(self._maps, state, strict=True)),
        )
        return from_planes(masks), state

    @cached_property
    def _maps(self) -> dict[str, tuple[int, int]]:
        """Width and number of positions of the maps that carry what the pieces before left."""
        inputs = self._session.get_inputs()
        return {
            put.name: (int(put.shape[1]), int(put.shape[3]))
            for put in inputs
            if put.name.startswith("state.")
        }

    def verify(self) -> None:
        """Run the network on a fixed input and compare with the answer recorded at export.

        Raises:
            ModelError: the answer differs: the weights are damaged or the runtime is at fault.
        """
        answer = probe_answer(self.masks(self._probe(9)))
        if len(answer) != len(self.metadata.probe) or not np.allclose(answer, self.metadata.probe, atol=1e-4):
            raise ModelError(
                f"{self.path}: the network answers {answer}, at export it answered {self.metadata.probe}: "
                "the file is damaged; fetch or export it again"
            )


def list_bundles() -> dict[str, Path]:
    """The bundles that ship: name -> path.

    Examples:
        >>> import duetto
        >>> duetto.list_bundles()["drnn"].name
        'drnn.onnx'
    """
    folder = Path(str(resources.files("duetto.models") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}
