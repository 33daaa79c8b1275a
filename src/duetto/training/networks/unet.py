"""A convolutional U-Net on complex spectrograms, with a complex mask.

After Choi et al., "Investigating U-Nets with various intermediate blocks for spectrogram-based singing voice
separation", ISMIR 2020 (blocks that work across time and frequency, then across all frequencies), and Liu et
al., "Channel-wise subband input for better voice and accompaniment separation", Interspeech 2020.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duetto.training.config import UNetConfig

FLOOR = 1e-8
"""Power under which the root compression of a bin fades out."""


class UNet(nn.Module):
    """Sub-bands as channels, a U-Net whose skips are multiplied into its decoder, complex masks.

    The song's channels are the mid and, with `n_channels=2`, the side (half of left minus right). With
    `cross_masks` there are four masks, so that the vocals of each channel are a sum of both: an instrument on
    one side of the stereo image can be cancelled by the other channel.
    """

    def __init__(self, config: UNetConfig, n_bins: int) -> None:
        super().__init__()
        self.config = config
        self.n_bins = n_bins
        self.n_inputs = n_inputs = 2 * config.n_channels * config.n_sub_bands
        self.n_positions = n_positions = (n_bins - 1) // config.n_sub_bands
        self.widths = widths = [config.width + level * config.growth for level in range(config.n_levels + 1)]
        self.stem = _normalised(_convolution(n_inputs, config.width), config.width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        for level, (narrow, wide) in enumerate(pairwise(widths)):
            self.encoders.append(_stage(config, level, narrow, n_positions))
            self.down.append(_normalised(nn.Conv2d(narrow, wide, 2, 2, bias=False), wide))
            self.up.append(_normalised(nn.ConvTranspose2d(wide, narrow, 2, 2, bias=False), narrow))
            self.decoders.append(_stage(config, level, narrow, n_positions))
        self.middle = _stage(config, config.n_levels, widths[-1], n_positions)
        last = nn.Conv2d(config.width, 2 * n_inputs if config.cross_masks else n_inputs, 1)
        nn.init.zeros_(last.weight)
        halves = torch.tensor([0.5, 0.0]).repeat(config.n_channels).repeat_interleave(config.n_sub_bands)
        bias = nn.init.zeros_(cast(Tensor, last.bias))
        bias.data[:n_inputs] = halves  # until something is learned the masks are equal
        self.head = nn.Sequential(nn.Conv2d(config.width + n_inputs, config.width, 1), nn.ReLU(), last)

    def masks(self, planes: Tensor) -> Tensor:
        """Complex masks of the vocals, as `duetto.models.onnx_model` describes them.

        Args:
            planes: spectrogram (batch_size, 2 n_channels, n_frames, n_bins), the real and the imaginary part
                of each channel.

        Returns:
            Masks of the same shape, with `cross_masks` followed by as many for the other channel.
        """
        return self._masks(planes, _WholeSequence())

    def step(self, x: Tensor, state: Sequence[Tensor], is_last: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next masks of a sequence in chunks; see `Stateful`.

        Args:
            x: the next chunk, as for `masks`. All but the last have a multiple of `frame_grid` frames, and
                the first `first_frames` or more.
            state: what the chunk before left, at first `empty_state`.
            is_last: 1 for the last chunk, else 0, an integer without dimensions.

        Returns:
            The masks that are next, `look_ahead` frames late or, with the last chunk, all that are left; and
            the state after them.
        """
        chunk = _Chunk(state, is_last)
        return self._masks(x, chunk), chunk.after

    @property
    def first_frames(self) -> int:
        """Frames of the first chunk, at least: every level then gives as many as the next needs again."""
        grid = self.config.frame_grid
        return grid * (-(-self.config.look_ahead // grid) + max(self.config.reaches))

    def empty_state(self, batch_size: int) -> list[Tensor]:
        """The state before the first chunk: of each part of the network, maps of no frames."""
        levels = range(self.config.n_levels)
        ups = [level for level in reversed(levels) for _ in ("its skip", "its stage")]
        maps = [(self.widths[level], level) for level in (*levels, self.config.n_levels, *ups)]
        return [
            torch.zeros(batch_size, width, 0, self.n_positions >> level)
            for width, level in [(self.n_inputs, 0), *maps, (self.n_inputs, 0)]
        ]

    def _masks(self, planes: Tensor, chunk: "_WholeSequence | _Chunk") -> Tensor:
        n_missing = -planes.shape[2] % self.config.frame_grid
        x = self._fold(F.pad(compressed(planes), (0, 0, 0, n_missing)))
        reaches = self.config.reaches
        hidden, skips = chunk.apply(self.stem, x, 1, 1), []
        for encoder, reach, down in zip(self.encoders, reaches, self.down, strict=False):
            skips.append(chunk.apply(encoder, hidden, reach, 2))
            hidden = down(skips[-1])
        hidden = chunk.apply(self.middle, hidden, reaches[-1], 1)
        for skip, decoder, reach, up in reversed(
            list(zip(skips, self.decoders, reaches, self.up, strict=False))
        ):
            hidden = up(hidden)
            hidden = chunk.apply(decoder, hidden * chunk.delay(skip, hidden), reach, 1)
        x = chunk.delay(x, hidden).to(hidden.dtype)
        masks = self._unfold(self.head(torch.cat([hidden, x], 1)))
        masks = masks[:, :, : masks.shape[2] - n_missing]
        return torch.cat([masks, masks[..., -1:]], dim=-1)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Spectrogram (batch_size, n_channels, n_bins, n_frames), complex, to that of the vocals."""
        pairs = torch.view_as_real(spectrogram)  # (batch_size, n_channels, n_bins, n_frames, 2)
        masks = self.masks(pairs.permute(0, 1, 4, 3, 2).flatten(1, 2))
        masks = masks.to(pairs.dtype)  # no complex numbers have the 16 bits of autocast
        pairs = masks.reshape(len(masks), -1, 2, *masks.shape[2:]).permute(0, 1, 4, 3, 2)
        complex_masks, n_channels = torch.view_as_complex(pairs.contiguous()), spectrogram.shape[1]
        vocals = spectrogram * complex_masks[:, :n_channels]
        if self.config.cross_masks:
            vocals = vocals + spectrogram.flip(1) * complex_masks[:, n_channels:]
        return vocals

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


class _WholeSequence:
    """A sequence that is not cut into chunks."""

    def apply(self, stage: nn.Module, maps: Tensor, reach: int, grid: int) -> Tensor:
        return cast(Tensor, stage(maps))

    def delay(self, maps: Tensor, like: Tensor) -> Tensor:
        return maps


class _Chunk:
    """A chunk of a sequence: maps (batch_size, width, n_frames, n_positions) wait for others."""

    def __init__(self, state: Sequence[Tensor], is_last: Tensor) -> None:
        self.before, self.follows = iter(state), 1 - is_last
        self.after: list[Tensor] = []

    def apply(self, stage: nn.Module, maps: Tensor, reach: int, grid: int) -> Tensor:
        """The next output of a stage that depends on `reach` frames on either side.

        It is a multiple of `grid` frames. The frames within reach of the end wait; with as many before them
        they are computed again.
        """
        held = next(self.before)
        maps = torch.cat([held, maps], 2)
        start = held.shape[2] // 2  # at first none is held, and later 2 reach, or 1 more if grid is 2
        stop = maps.shape[2] - reach * self.follows
        stop = stop - (stop - start) % grid
        self.after.append(maps[:, :, stop - reach :])
        return cast(Tensor, stage(maps))[:, :, start:stop]

    def delay(self, maps: Tensor, like: Tensor) -> Tensor:
        """As many of the frames that have not been used as another map has."""
        maps = torch.cat([next(self.before), maps], 2)
        self.after.append(maps[:, :, like.shape[2] :])
        return maps[:, :, : like.shape[2]]


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
    blocks: list[nn.Module] = [_Residual(width) for _ in range(config.reaches[level] // 2)]
    return nn.Sequential(blocks[0], _Frequencies(width, n_positions, n_hidden), *blocks[1:])


def _convolution(n_inputs: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(n_inputs, width, 3, padding=1, bias=False)


def _normalised(layer: nn.Module, width: int) -> nn.Sequential:
    # batch normalisation becomes part of the convolution in a model file, and masks do not depend on what
    # else is in the batch
    return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU())
