import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from duetto.dsp.mid_side import to_left_right, to_mid_side

STEREO = arrays(np.float32, (2, 50), elements=st.floats(-1, 1, width=32))


@given(STEREO)
def test_left_and_right_come_back(stereo: np.ndarray) -> None:
    np.testing.assert_allclose(to_left_right(to_mid_side(stereo)), stereo, atol=1.2e-7, rtol=0)


def test_what_both_channels_have_in_common_is_mid(rng: np.random.Generator) -> None:
    channel = rng.standard_normal(50).astype(np.float32)
    np.testing.assert_array_equal(to_mid_side(np.stack([channel, channel])), [channel, 0 * channel])
    np.testing.assert_array_equal(to_mid_side(np.stack([channel, -channel])), [0 * channel, channel])


@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_only_stereo_has_mid_and_side(n_channels: int, rng: np.random.Generator) -> None:
    waveform = rng.standard_normal((n_channels, 50)).astype(np.float32)
    np.testing.assert_array_equal(to_mid_side(waveform), waveform)
    np.testing.assert_array_equal(to_left_right(waveform), waveform)
