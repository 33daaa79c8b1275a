import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from duetto.dsp.mid_side import left_and_right, middle_and_side

STEREO = arrays(np.float32, (2, 50), elements=st.floats(-1, 1, width=32))


@given(STEREO)
def test_left_and_right_come_back(stereo: np.ndarray) -> None:
    np.testing.assert_allclose(left_and_right(middle_and_side(stereo)), stereo, atol=1.2e-7, rtol=0)


def test_what_both_channels_share_is_the_middle(rng: np.random.Generator) -> None:
    channel = rng.standard_normal(50).astype(np.float32)
    np.testing.assert_array_equal(middle_and_side(np.stack([channel, channel])), [channel, 0 * channel])
    np.testing.assert_array_equal(middle_and_side(np.stack([channel, -channel])), [0 * channel, channel])


@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_only_stereo_has_a_middle_and_a_side(n_channels: int, rng: np.random.Generator) -> None:
    waveform = rng.standard_normal((n_channels, 50)).astype(np.float32)
    np.testing.assert_array_equal(middle_and_side(waveform), waveform)
    np.testing.assert_array_equal(left_and_right(waveform), waveform)
