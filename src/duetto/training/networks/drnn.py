"""The deep recurrent network with its mask layer.

Huang, Kim, Hasegawa-Johnson and Smaragdis, "Singing-voice separation from monaural recordings using deep
recurrent neural networks", ISMIR 2014; initial weights and mask variants as in the authors' released code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duetto.training.config import DRNNConfig
from duetto.training.networks.layers import EPSILON, neighbours, ratio_masks, repeat_edges


class DRNN(nn.Module):
    """Hidden layers of rectified units, any of them recurrent, and a mask layer without parameters.

    h_l(t) = ReLU(W_l h_{l-1}(t) + b_l [+ U_l h_l(t-1)]),  [a_1; a_2] = W_o h_L(t) + b_o,
    y_i = |a_i| / (|a_1| + |a_2|) |X|  (section 3.2, equations 4 to 7).
    """

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

    @property
    def look_back(self) -> int:
        """Frames before its own that a mask depends on directly; as many after it."""
        return self.config.context // 2

    @property
    def state_size(self) -> int:
        """Numbers that the recurrent layers carry from frame to frame."""
        return len(self.config.recurrent_layers) * self.config.hidden_size

    def activations(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to the linear outputs.

        They are (batch_size, n_outputs, n_bins, n_frames).
        """
        state = magnitude.new_zeros(magnitude.shape[0], self.state_size)
        return self._run(repeat_edges(magnitude, self.look_back), state)[0]

    def step(self, magnitude: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Masks of a piece of a sequence, given the state that the piece before left.

        Args:
            magnitude: (batch_size, n_bins, n_frames + context - 1), the piece and its neighbours.
            state: (batch_size, state_size), zeros at the start.

        Returns:
            Masks (batch_size, 2, n_bins, n_frames) and the state after them.
        """
        activations, state = self._run(magnitude, state)
        return self._masks(activations, neighbours(magnitude, self.config.context)[self.look_back]), state

    def _run(self, padded: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.cat(neighbours(padded, self.config.context), dim=1).transpose(1, 2)
        before = iter(torch.split(state, self.config.hidden_size, dim=1))
        after = []
        for layer in self.layers:
            if isinstance(layer, nn.RNN):
                hidden, last = layer(hidden, next(before)[None].contiguous())
                after.append(last[0])
            else:
                hidden = F.relu(layer(hidden))
        activations = self.output(hidden).transpose(1, 2).unflatten(1, (self.config.n_outputs, self.n_bins))
        return activations, torch.cat(after, dim=1) if after else state

    def forward(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to estimates (batch_size, n_outputs, n_bins, n_frames)."""
        activations = self.activations(magnitude)
        if self.config.joint_mask == "none":
            return activations
        return ratio_masks(activations, self.config.joint_mask) * magnitude.unsqueeze(1)

    def masks(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to masks in [0, 1], (batch_size, 2, n_bins, n_frames)."""
        return self._masks(self.activations(magnitude), magnitude)

    def _masks(self, activations: Tensor, magnitude: Tensor) -> Tensor:
        if self.config.n_outputs == 1:
            vocals = (activations.abs() / (magnitude.unsqueeze(1) + EPSILON)).clamp(0, 1)
            return torch.cat([vocals, 1 - vocals], dim=1)
        return ratio_masks(activations, self.config.joint_mask).clamp(0, 1)


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
