"""A torch network as a model: what the Separator and the exporter need of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from duetto import __version__
from duetto.models.metadata import ModelMetadata
from duetto.models.onnx_model import from_planes, probe_answer, probe_input, to_planes
from duetto.training.config import Config
from duetto.training.networks import Network, Stateful


class TorchModel:
    """A torch network in the place of a `duetto.models.onnx_model.OnnxModel`.

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
    def metadata(self) -> ModelMetadata:
        """The metadata of a model file of this network, with the weights that it has when first asked."""
        config = self.config
        metadata = ModelMetadata(
            name=config.name,
            summary=config.summary,
            sample_rate=config.data.sample_rate,
            n_fft=config.stft.n_fft,
            hop_length=config.stft.hop_length,
            window=config.stft.window,
            input=config.network.input,
            n_channels=config.network.n_channels,
            first_frames=self.network.first_frames if isinstance(self.network, Stateful) else 0,
            frame_grid=config.network.frame_grid,
            look_ahead=config.network.look_ahead,
            stream_frames=config.network.stream_frames if isinstance(self.network, Stateful) else 0,
            n_passes=config.n_passes,
            n_parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            recipe=config.model_dump(mode="json"),
            training_data=config.data.description,
            licence=config.data.licence,
            metrics=self.metrics,
            project_version=__version__,
        )
        return replace(metadata, probe=tuple(probe_answer(self.masks(probe_input(metadata)))))

    def masks(self, x: NDArray[Any]) -> NDArray[Any]:
        """The masks of a whole sequence; see `duetto.models.registry.MaskModel`."""
        with torch.inference_mode():
            return _to_array(self.network.masks(self._to_tensor(x)), x)

    def step(
        self, x: NDArray[Any], state: Sequence[NDArray[Any]] | None, /, *, is_last: bool
    ) -> tuple[NDArray[Any], Sequence[NDArray[Any]]]:
        """The masks that are next, and the state; see `duetto.models.registry.StatefulModel`."""
        assert isinstance(self.network, Stateful)  # else the metadata say that it keeps no state
        before = self.network.empty_state(len(x)) if state is None else map(torch.from_numpy, state)
        with torch.inference_mode():
            masks, after = self.network.step(
                self._to_tensor(x),
                [values.to(self._device) for values in before],
                torch.tensor(int(is_last), device=self._device),
            )
        return _to_array(masks, x), [values.cpu().numpy() for values in after]

    def _to_tensor(self, x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(to_planes(x) if np.iscomplexobj(x) else x).to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def _to_array(masks: Tensor, x: NDArray[Any]) -> NDArray[Any]:
    array: NDArray[np.float32] = masks.cpu().numpy()
    return from_planes(array) if np.iscomplexobj(x) else array
