import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from duetto.audio import quantise, to_float
from duetto.separation.remainder import mix_block, null_residual, split_block

DEPTHS = st.sampled_from([8, 16, 24, 32])
SHAPE = (2, 17)
ESTIMATES = arrays(np.float32, SHAPE, elements=st.floats(-2, 2, width=32))


@st.composite
def integers(draw, bits):
    top = 2 ** (bits - 1)
    edges = st.sampled_from([-top, 1 - top, -1, 0, 1, top - 1])
    return draw(arrays(np.int32, SHAPE, elements=st.one_of(edges, st.integers(-top, top - 1))))


def summed(stems):
    return stems["vocals"].astype(np.int64) + stems["accompaniment"]


def in_range(stems, bits):
    top = 2 ** (bits - 1)
    return all(stem.dtype == np.int32 and stem.min() >= -top and stem.max() < top for stem in stems.values())


@given(st.data(), DEPTHS, DEPTHS, ESTIMATES)
def test_integer_stems_sum_to_the_mixture_bit_for_bit_and_stay_in_range(data, bits, bits_out, estimate):
    mixture = data.draw(integers(bits))
    stems, _ = split_block(mixture, estimate, bits=bits, bits_out=bits_out)
    assert in_range(stems, bits_out)
    if bits_out >= bits:
        whole = mixture.astype(np.int64) << (bits_out - bits)
    else:
        top = 2 ** (bits_out - 1)
        whole = np.clip(np.rint(mixture / 2.0 ** (bits - bits_out)), -top, top - 1)
    assert np.array_equal(summed(stems), whole)


@given(st.data(), DEPTHS)
def test_an_estimate_between_0_and_the_mixture_is_rounded_and_never_clipped(data, bits):
    mixture = data.draw(integers(bits))
    share = data.draw(arrays(np.float64, SHAPE, elements=st.floats(0, 1)))
    estimate = (mixture / 2.0 ** (bits - 1) * share).astype(np.float32)
    stems, n_clipped = split_block(mixture, estimate, bits=bits, bits_out=bits)
    exact = estimate.astype(np.float64) * 2.0 ** (bits - 1)
    fits = exact < 2 ** (bits - 1) - 0.5  # a 32-bit sample just below full scale is full scale as a float
    assert n_clipped == np.count_nonzero(~fits)
    assert np.all(np.abs(stems["vocals"] - exact)[fits] <= 0.5)


@given(st.data(), st.sampled_from([8, 16, 24]), ESTIMATES)
def test_the_clip_count_is_the_number_of_vocal_samples_that_had_to_move(data, bits, estimate):
    mixture = data.draw(integers(bits))
    stems, n_clipped = split_block(mixture, estimate, bits=bits, bits_out=bits)
    wanted = np.rint(estimate.astype(np.float64) * 2 ** (bits - 1))
    assert n_clipped == np.count_nonzero(stems["vocals"] != wanted)


def test_both_stems_saturate_at_full_scale():
    mixture = np.array([[32767, -32768, -32768, 32767]], np.int32)
    estimate = np.array([[1.5, -1.5, 0.5, -0.5]], np.float32)
    stems, n_clipped = split_block(mixture, estimate, bits=16, bits_out=16)
    assert stems["vocals"].tolist() == [[32767, -32768, 0, 0]]
    assert stems["accompaniment"].tolist() == [[0, 0, -32768, 32767]]
    assert n_clipped == 4


@given(arrays(np.float32, SHAPE, elements=st.floats(-2, 2, width=32)), ESTIMATES, st.sampled_from([16, 24]))
def test_a_float_mixture_is_quantised_once_and_its_clips_are_counted(mixture, estimate, bits_out):
    whole, n_clipped = quantise(mixture, bits_out)
    stems, counted = split_block(mixture, estimate, bits=None, bits_out=bits_out)
    assert in_range(stems, bits_out)
    assert np.array_equal(summed(stems), whole)
    assert counted >= n_clipped


@given(
    arrays(np.float32, SHAPE, elements=st.floats(-2, 2, width=32)),
    arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)),
    st.sampled_from([np.float32, np.float64]),
)
def test_float_stems_sum_to_the_mixture_within_one_unit_in_the_last_place(mixture, share, dtype):
    """Where the estimate lies between 0 and the mixture."""
    estimate = mixture * share
    mixture = mixture.astype(dtype)
    stems, n_clipped = split_block(mixture, estimate, bits=None, bits_out=None, double=dtype is np.float64)
    total = stems["vocals"] + stems["accompaniment"]
    assert n_clipped == 0
    assert {stem.dtype for stem in stems.values()} == {np.dtype(dtype)}
    assert np.all(np.abs(total - mixture) <= np.spacing(np.abs(mixture)))


MAGNITUDES = arrays(
    np.float32,
    SHAPE,
    elements=st.one_of(
        st.floats(-2, 2, width=32),
        st.floats(-(2.0**126), 2.0**126, width=32),
        st.floats(-(2.0**-100), 2.0**-100, width=32),
    ),
)


@given(st.data(), MAGNITUDES, st.sampled_from([None, 8, 16, 24, 32, np.float64]), st.booleans())
def test_float_stems_of_any_magnitude_sum_within_a_unit_in_the_last_place_of_the_largest(
    data, vocals, kind, double
):
    """Of float32, at the largest of mixture, vocals and accompaniment: where vocals and accompaniment nearly
    cancel, no pair of floats of their size sums to a mixture far smaller.
    """
    bits = kind if isinstance(kind, int) else None
    mixture = data.draw(integers(bits)) if bits else data.draw(MAGNITUDES)
    if kind is np.float64:
        mixture = mixture.astype(np.float64) * (1 + 2.0**-40)
    exact = mixture / (2.0 ** (bits - 1) if bits else 1.0)
    stems, n_clipped = split_block(mixture, vocals, bits=bits, bits_out=None, double=double)
    assert n_clipped == 0
    assert {stem.dtype for stem in stems.values()} == {np.dtype(np.float64 if double else np.float32)}
    np.testing.assert_array_equal(stems["vocals"], vocals)
    parts = np.array([exact, *stems.values()])
    ulp = np.spacing(np.abs(parts).max(axis=0).astype(np.float32)).astype(np.float64)
    residual = null_residual(mixture, bits, stems, None)
    assert residual == np.abs(stems["vocals"].astype(np.float64) + stems["accompaniment"] - exact).max()
    assert np.all(np.abs(stems["vocals"].astype(np.float64) + stems["accompaniment"] - exact) <= ulp)
    total = stems["vocals"].astype(np.float32) + stems["accompaniment"].astype(np.float32)
    assert np.all(np.abs(total - exact) <= ulp)


@given(st.data(), DEPTHS, DEPTHS, ESTIMATES)
def test_a_stem_alone_is_the_stem_of_both_and_a_mix_of_equal_levels_is_the_mixture(
    data, bits, bits_out, estimate
):
    mixture = data.draw(integers(bits))
    both, n_clipped = split_block(mixture, estimate, bits=bits, bits_out=bits_out)
    for stem in both:
        alone = split_block(mixture, estimate, bits=bits, bits_out=bits_out, stems=(stem,))
        assert list(alone[0]) == [stem]
        np.testing.assert_array_equal(alone[0][stem], both[stem])
        assert alone[1] == n_clipped
    mixed, n_saturated = mix_block(mixture, estimate, dict.fromkeys(both, 1.0), bits=bits, bits_out=bits_out)
    whole = summed(both)
    np.testing.assert_array_equal(mixed, whole)
    if bits_out >= bits:
        assert n_saturated == 0
        assert null_residual(mixture, bits, both, bits_out) == 0


@given(st.data(), st.sampled_from([8, 16, 24]))
def test_integers_become_float_stems(data, bits):
    mixture = data.draw(integers(bits))
    vocals = to_float(mixture, bits) / 4
    stems, n_clipped = split_block(mixture, vocals, bits=bits, bits_out=None)
    assert n_clipped == 0
    assert stems["accompaniment"].dtype == np.float32
    np.testing.assert_array_equal(stems["vocals"] + stems["accompaniment"], to_float(mixture, bits))


@pytest.mark.parametrize("bits_out", [16, 24, 32, None])
def test_inputs_stay_unmodified(bits_out, rng):
    mixture = rng.integers(-32768, 32768, (2, 100)).astype(np.int32)
    vocals = rng.uniform(-1, 1, (2, 100)).astype(np.float32)
    before = mixture.copy(), vocals.copy()
    stems, _ = split_block(mixture, vocals, bits=16, bits_out=bits_out)
    stems["vocals"][:] = 0
    assert np.array_equal(mixture, before[0])
    assert np.array_equal(vocals, before[1])
