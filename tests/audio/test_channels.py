"""One table of loudspeakers and channel orders for both directions."""

import av
import pytest

from duetto.audio.channels import XIPH_MASKS, XIPH_ORDER, places, same_places

LAYOUTS = ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"]  # FFmpeg's names
BITS = {
    name: 1 << k
    for k, name in enumerate(["FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"])
}


def mask_of(layout):
    return sum(BITS[channel.name] for channel in av.AudioLayout(layout).channels)


@pytest.mark.parametrize("n_channels", range(1, 9))
def test_a_number_of_channels_means_what_ffmpeg_takes_it_for(n_channels):
    assert same_places(XIPH_MASKS[n_channels], mask_of(LAYOUTS[n_channels - 1]))
    assert XIPH_MASKS[n_channels].bit_count() == n_channels


@pytest.mark.parametrize("n_channels", XIPH_ORDER)
def test_the_orders_are_permutations_with_the_centre_second(n_channels):
    order = XIPH_ORDER[n_channels]
    assert sorted(order) == list(range(n_channels))
    assert order[2] == 1  # front centre, third in WAV, is second in Vorbis and Opus


def test_a_pair_at_the_side_is_at_the_same_place_as_one_at_the_back():
    assert same_places(mask_of("5.1(side)"), mask_of("5.1"))
    assert not same_places(mask_of("4.0"), mask_of("quad"))
    assert not same_places(mask_of("7.1"), mask_of("7.1(wide)"))


def test_places_in_words():
    assert places(0x3F) == "front left, front right, front centre, low frequency, back left, back right"
    assert places(0x1 | 1 << 20) == "front left, another"
