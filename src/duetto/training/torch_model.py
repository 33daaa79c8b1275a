"""A network in training, seen as a bundle: what the Separator and the exporter need of it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from duetto import __version__
from duetto.models.onnx_model import (
    FORMAT_VERSION,
    BundleMetadata,
    from_planes,
    probe_answer,
    probe_input,
    probe_spectrogram,
    to_planes,
)
from duetto.training.config import Config
from duetto.training.networks import Carrying, Network, Streaming


class NetworkEstimator:
    """Estimates masks with a torch network; stands in for a `duetto.models.onnx_model.Bundle`.

    Args:
        config: the experiment.
        network: its network, on any device.
        metrics: scores with the protocol that gave them, for the metadata.
    """

    def __init__(self, config: Config, network: Network, metrics: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.network = network
        self.metrics = dict(metrics or {})

    @cached_property
    def metadata(self) -> BundleMetadata:
        """What a bundle of this network says of itself, with the weights that it has when first asked."""
        config = self.config
        return BundleMetadata(
            format_version=FORMAT_VERSION,
            name=config.name,
            summary=config.summary,
            sample_rate=config.data.sample_rate,
            n_fft=config.stft.n_fft,
            hop_length=config.stft.hop_length,
            window=config.stft.window,
            input=config.network.input,
            n_channels=config.network.n_channels,
            frame_grid=config.network.frame_grid,
            n_passes=config.n_passes,
            sources=["vocals", "accompaniment"],
            causal=config.network.causal,
            look_ahead=config.network.look_ahead,
            streams=isinstance(self.network, Streaming),
            first_frames=self.network.first_frames if isinstance(self.network, Carrying) else 0,
            look_back=self.network.look_back if isinstance(self.network, Streaming) else 0,
            n_parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            recipe=config.model_dump(mode="json"),
            training_data=config.data.description,
            licence=config.data.licence,
            metrics=self.metrics,
            project_version=__version__,
            probe=probe_answer(self.masks(self.probe())),
        )

    def probe(self, n_frames: int = 9) -> NDArray[Any]:
        """The fixed input on which a bundle's known answer is taken."""
        if self.config.network.input == "magnitude":
            return probe_input(self.network.n_bins, n_frames)
        return probe_spectrogram(self.config.network.n_channels, self.network.n_bins, n_frames)

    def masks(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Masks of a magnitude or, as the metadata say, of a spectrogram; see `MaskEstimator.masks`."""
        is_complex = np.iscomplexobj(seen)
        tensor = torch.from_numpy(to_planes(seen) if is_complex else seen)
        with torch.inference_mode():
            masks: NDArray[np.float32] = self.network.masks(tensor.to(self._device)).cpu().numpy()
        return from_planes(masks) if is_complex else masks

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def carry(
        self, spectrogram: NDArray[np.complex64], state: Sequence[NDArray[Any]] | None, /, *, follows: bool
    ) -> tuple[NDArray[np.complex64], list[NDArray[Any]]]:
        """The next masks and the state after them, as `Bundle.carry`."""
        assert isinstance(self.network, Carrying)  # else the metadata say that it does not carry
        before = self.network.empty_state(len(spectrogram)) if state is None else map(torch.from_numpy, state)
        with torch.inference_mode():
            masks, after = self.network.carry(
                torch.from_numpy(to_planes(spectrogram)).to(self._device),
                [maps.to(self._device) for maps in before],
                torch.tensor(int(follows)),
            )
        return from_planes(masks.cpu().numpy()), [maps.cpu().numpy() for maps in after]

    def step(
        self, magnitude: NDArray[np.float32], state: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The masks of a piece and the state after it, as `Bundle.step`."""
        assert isinstance(self.network, Streaming)  # else the metadata say that it does not stream
        if state is None:
            state = np.zeros((len(magnitude), self.network.state_size), np.float32)
        with torch.inference_mode():
            masks, after = self.network.step(
                *(torch.from_numpy(a).to(self._device) for a in (magnitude, state))
            )
        return masks.cpu().numpy(), after.cpu().numpy()
