"""Which loudspeaker each channel is for, and the order in which each container stores the channels.

Inside Duetto channels stand in the order of WAV: that of the bits of a channel mask, lowest first. A mask is
the dwChannelMask of Microsoft's WAVEFORMATEXTENSIBLE; 0 means that a file does not say where its channels
belong.
"""

_BITS = {
    "front left": 0x1, "front right": 0x2, "front centre": 0x4, "low frequency": 0x8, "back left": 0x10,
    "back right": 0x20, "front left of centre": 0x40, "front right of centre": 0x80, "back centre": 0x100,
    "side left": 0x200, "side right": 0x400,
}  # fmt: skip
_BACK, _SIDE = 0x30, 0x600

XIPH_MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
"""The mask that a number of channels means in FLAC (RFC 9639, section 9.1.3), Vorbis (Vorbis I, section
4.3.9) and Opus (RFC 7845, section 5.1.1.2)."""

XIPH_ORDER = {3: (0, 2, 1), 5: (0, 2, 1, 3, 4), 6: (0, 2, 1, 5, 3, 4), 7: (0, 2, 1, 6, 5, 3, 4),
              8: (0, 2, 1, 7, 5, 6, 3, 4)}  # fmt: skip
"""Which channel of a Vorbis or Opus stream is the first, second... in the order of WAV. Other numbers of
channels stand in the same order in both."""


def plain_mask(mask: int, n_channels: int) -> int:
    """The mask, or 0 where it does not fit the number of channels or means mono or stereo as usual."""
    usual = n_channels <= 2 and mask == XIPH_MASKS[n_channels]
    return 0 if usual or mask.bit_count() != n_channels else mask


def places(mask: int) -> str:
    """The loudspeakers of a mask in words: "front left, front right"."""
    named = [name for name, bit in _BITS.items() if mask & bit]
    return ", ".join(named + ["another"] * (mask.bit_count() - len(named)))


def same_places(mask: int, other: int) -> bool:
    """Whether two masks put the channels at the same places, a pair at the sides being one at the back."""
    return _sideless(mask) == _sideless(other)


def _sideless(mask: int) -> int:
    """The mask with a pair at the sides moved to the back, where nothing stands there."""
    return mask ^ _SIDE | _BACK if mask & _SIDE == _SIDE and not mask & _BACK else mask
