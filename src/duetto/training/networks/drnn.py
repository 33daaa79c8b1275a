"""The deep recurrent network with its mask layer.

Huang, Kim, Hasegawa-Johnson and Smaragdis, "Singing-voice separation from monaural recordings using deep
recurrent neural networks", ISMIR 2014; initial weights and mask variants as in the authors' released code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duetto.training.config import DRNNConfig
from duetto.training.networks.layers import (
    EPSILON,
    MagnitudeNetwork,
    neighbours,
    next_frames,
    repeat_edges,
    soft_masks,
)


class DRNN(MagnitudeNetwork):
    """Hidden layers of rectified units, any of them recurrent, and a mask layer without parameters.

    h_l(t) = ReLU(W_l h_{l-1}(t) + b_l [+ U_l h_l(t-1)]),  [a_1; a_2] = W_o h_L(t) + b_o,
    y_i = |a_i| / (|a_1| + |a_2|) |X|  (section 3.2, equations 4 to 7).
    """

    config: DRNNConfig

    def __init__(self, config: DRNNConfig, n_bins: int) -> None:
        super().__init__()
        self.config = config
        self.n_bins = n_bins
        self.layers = nn.ModuleList()
        n_inputs = n_bins * config.context
        for layer in range(1, config.n_layers + 1):
            recurrent = layer in config.recurrent_layers
            self.layers.append(_layer(n_inputs, config.hidden_size, recurrent, config.bias))
            n_inputs = config.hidden_size
        self.output = nn.Linear(n_inputs, config.n_outputs * n_bins, bias=config.bias)
        _initialise(self)

    def empty_state(self, batch_size: int) -> list[Tensor]:
        """The state before the first chunk: no frames, and zeros for each recurrent layer."""
        hidden = torch.zeros(batch_size, self.config.hidden_size)
        return [torch.zeros(batch_size, 0, self.n_bins), *(hidden for _ in self.config.recurrent_layers)]

    def activations(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to the linear outputs.

        They are (batch_size, n_outputs, n_bins, n_frames).
        """
        frames = magnitude.transpose(1, 2)
        frames = repeat_edges(frames, self.config.look_ahead, self.config.look_ahead)
        initial = [state.to(magnitude) for state in self.empty_state(len(magnitude))[1:]]
        return self._run(frames, initial)[0].transpose(2, 3)

    def step(self, x: Tensor, state: Sequence[Tensor], is_last: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `MagnitudeNetwork`."""
        held, *hidden = state
        n_side = self.config.look_ahead
        frames, held = next_frames(x, held, n_side, is_last)
        activations, hidden = self._run(frames, hidden)
        return self._masks(activations, neighbours(frames, n_side)[n_side]), [held, *hidden]

    def _run(self, frames: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Frames with those around them to activations (batch_size, n_outputs, n_frames, n_bins)."""
        hidden = torch.cat(neighbours(frames, self.config.look_ahead), dim=2)
        before, after = iter(state), []
        for layer in self.layers:
            if isinstance(layer, nn.RNN):
                hidden, last = layer(hidden, next(before)[None].contiguous())
                after.append(last[0])
            else:
                hidden = F.relu(layer(hidden))
        activations = self.output(hidden).unflatten(2, (self.config.n_outputs, self.n_bins))
        return activations.transpose(1, 2), after

    def forward(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to estimates (batch_size, n_outputs, n_bins, n_frames)."""
        activations = self.activations(magnitude)
        if self.config.joint_mask == "none":
            return activations
        return soft_masks(activations, self.config.joint_mask) * magnitude.unsqueeze(1)

    def _masks(self, activations: Tensor, magnitude: Tensor) -> Tensor:
        if self.config.n_outputs == 1:
            vocals = (activations.abs() / (magnitude.unsqueeze(1) + EPSILON)).clamp(0, 1)
            return torch.cat([vocals, 1 - vocals], dim=1)
        return soft_masks(activations, self.config.joint_mask).clamp(0, 1)


def _layer(n_inputs: int, n_units: int, recurrent: bool, bias: bool) -> nn.Module:
    if recurrent:
        return nn.RNN(n_inputs, n_units, nonlinearity="relu", bias=bias, batch_first=True)
    return nn.Linear(n_inputs, n_units, bias=bias)


def _initialise(network: DRNN) -> None:
    """Uniform weights in +-sqrt(6 / fan) with the fans of the authors' code, biases 0."""
    n_units = network.config.hidden_size
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
            continue
        n_outputs, n_inputs = parameter.shape
        fan = n_inputs + n_outputs
        if "weight_hh" in name:
            fan = 3 * n_units
        elif "weight_ih" in name:
            fan = n_inputs + 2 * n_units
        nn.init.uniform_(parameter, -((6 / fan) ** 0.5), (6 / fan) ** 0.5)
