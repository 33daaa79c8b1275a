"""A convolutional U-Net on complex spectrograms, with a complex mask.

After Choi et al., "Investigating U-Nets with various intermediate blocks for spectrogram-based singing voice
separation", ISMIR 2020 (blocks that work across time and frequency, then across all frequencies), and Liu et
al., "Channel-wise subband input for better voice and accompaniment separation", Interspeech 2020.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duetto.train.config import UNetConfig

FLOOR = 1e-8
"""Power under which the root compression of a bin fades out."""


class UNet(nn.Module):
    """Sub-bands as channels, a U-Net whose skips are multiplied into its way up, a complex mask.

    The song's channels are the middle and, with `n_channels=2`, the side (half of left minus right).
    """

    def __init__(self, config: UNetConfig, n_bins: int) -> None:
        super().__init__()
        self.config = config
        self.n_bins = n_bins
        n_inputs = 2 * config.n_channels * config.n_sub_bands
        n_positions = (n_bins - 1) // config.n_sub_bands
        widths = [config.width + level * config.growth for level in range(config.n_levels + 1)]
        self.stem = _normalised(_convolution(n_inputs, config.width), config.width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        for level, (narrow, wide) in enumerate(pairwise(widths)):
            self.encoders.append(_stage(config, level, narrow, n_positions))
            self.down.append(_normalised(nn.Conv2d(narrow, wide, 2, 2, bias=False), wide))
            self.up.append(_normalised(nn.ConvTranspose2d(wide, narrow, 2, 2, bias=False), narrow))
            self.decoders.append(_stage(config, level, narrow, n_positions))
        self.middle = _stage(config, config.n_levels, widths[-1], n_positions)
        last = nn.Conv2d(config.width, n_inputs, 1)
        nn.init.zeros_(last.weight)
        halves = torch.tensor([0.5, 0.0]).repeat(config.n_channels).repeat_interleave(config.n_sub_bands)
        cast(Tensor, last.bias).data.copy_(halves)  # until something is learned the sources share alike
        self.head = nn.Sequential(nn.Conv2d(config.width + n_inputs, config.width, 1), nn.ReLU(), last)

    def masks(self, planes: Tensor) -> Tensor:
        """Complex masks of the vocals, as `duetto.bundle` describes them.

        Args:
            planes: spectrogram (batch_size, 2 n_channels, n_frames, n_bins), the real and the imaginary part
                of each channel.

        Returns:
            Masks of the same shape.
        """
        n_frames = planes.shape[2]
        seen = self._fold(F.pad(compressed(planes), (0, 0, 0, -n_frames % 2**self.config.n_levels)))
        hidden, skips = self.stem(seen), []
        for encoder, down in zip(self.encoders, self.down, strict=True):
            skips.append(encoder(hidden))
            hidden = down(skips[-1])
        hidden = self.middle(hidden)
        for skip, decoder, up in reversed(list(zip(skips, self.decoders, self.up, strict=True))):
            hidden = decoder(up(hidden) * skip)
        masks = self._unfold(self.head(torch.cat([hidden, seen.to(hidden.dtype)], 1)))[:, :, :n_frames]
        return torch.cat([masks, masks[..., -1:]], dim=-1)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Spectrogram (batch_size, n_channels, n_bins, n_frames), complex, to that of the vocals."""
        pairs = torch.view_as_real(spectrogram)  # (batch_size, n_channels, n_bins, n_frames, 2)
        masks = self.masks(pairs.permute(0, 1, 4, 3, 2).flatten(1, 2))
        masks = masks.to(pairs.dtype)  # no complex numbers have the 16 bits of autocast
        pairs = masks.reshape(len(masks), -1, 2, *masks.shape[2:]).permute(0, 1, 4, 3, 2)
        return spectrogram * torch.view_as_complex(pairs.contiguous())

    def _fold(self, maps: Tensor) -> Tensor:
        """Maps (batch_size, n, n_frames, n_bins) to (batch_size, n n_sub_bands, n_frames, n_positions)."""
        bands = torch.stack(maps[..., :-1].chunk(self.config.n_sub_bands, dim=-1), dim=2)
        return bands.flatten(1, 2).contiguous(memory_format=torch.channels_last)  # the faster order on CPUs

    def _unfold(self, maps: Tensor) -> Tensor:
        """The inverse of `_fold`, but for the bin that is missing at the top."""
        bands = maps.reshape(maps.shape[0], -1, self.config.n_sub_bands, *maps.shape[2:])
        return bands.transpose(2, 3).flatten(3)


def compressed(planes: Tensor) -> Tensor:
    """The complex numbers z of planes (batch_size, 2 n_channels, ...) as z / |z|^0.5, in planes."""
    parts = planes.reshape(planes.shape[0], -1, 2, *planes.shape[2:])
    power = parts[:, :, :1].square() + parts[:, :, 1:].square()
    return (parts * (power + FLOOR).sqrt().rsqrt()).flatten(1, 2)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input goes as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _normalised(_convolution(width, width), width)
        norm = nn.BatchNorm2d(width)
        nn.init.zeros_(norm.weight)  # it begins as nothing
        self.second = nn.Sequential(_convolution(width, width), norm)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(maps + self.second(self.first(maps)))


class _Frequencies(nn.Module):
    """Two linear layers across all frequencies around which the input goes as well."""

    def __init__(self, width: int, n_positions: int, n_hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_positions, n_hidden)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Linear(n_hidden, n_positions)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.second(F.relu(self.norm(self.first(maps))))


def _stage(config: UNetConfig, level: int, width: int, n_positions: int) -> nn.Sequential:
    n_positions >>= level
    n_hidden = max(n_positions // config.frequency_bottleneck, config.least_frequencies)
    n_blocks = config.n_blocks[min(level, len(config.n_blocks) - 1)]
    blocks: list[nn.Module] = [_Residual(width) for _ in range(n_blocks)]
    return nn.Sequential(blocks[0], _Frequencies(width, n_positions, n_hidden), *blocks[1:])


def _convolution(n_inputs: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(n_inputs, width, 3, padding=1, bias=False)


def _normalised(layer: nn.Module, width: int) -> nn.Sequential:
    # batch normalisation becomes part of the convolution in a bundle, and a segment's masks do not depend on
    # what else is in it
    return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU())
