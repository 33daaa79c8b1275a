from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from duetto.dsp.masks import binary_masks, griffin_lim, ratio_masks, wiener_masks
from duetto.dsp.stft import STFT

MAGNITUDES = arrays(np.float32, (2, 3, 5), elements=st.floats(0, 2**20, width=32))
SINE = STFT(n_fft=512, hop_length=128, window="sine")


def sources(magnitudes):
    return {f"source {index}": magnitude for index, magnitude in enumerate(magnitudes)}


@given(arrays(np.float32, (3, 4, 5), elements=st.floats(0, 2**20, width=32)), st.floats(0.5, 2))
def test_ratio_masks_lie_between_0_and_1_and_sum_to_1(magnitudes, power):
    masks = ratio_masks(sources(magnitudes), power=power)
    assert all(mask.dtype == np.float32 and np.all((mask >= 0) & (mask <= 1)) for mask in masks.values())
    np.testing.assert_allclose(sum(masks.values()), 1, atol=1e-6)


def test_ratio_masks_are_the_papers_equation():
    masks = ratio_masks({"vocals": np.array([3.0, 0, 5]), "accompaniment": np.array([1.0, 2, 0])})
    np.testing.assert_allclose(masks["vocals"], [0.75, 0, 1])
    np.testing.assert_allclose(masks["accompaniment"], [0.25, 1, 0])


@given(MAGNITUDES)
def test_wiener_masks_are_ratios_of_powers(magnitudes):
    wiener, ratio = wiener_masks(sources(magnitudes)), ratio_masks(sources(magnitudes), power=2)
    assert all(np.array_equal(wiener[name], ratio[name]) for name in wiener)


def test_wiener_masks_square():
    masks = wiener_masks({"vocals": np.array([3.0]), "accompaniment": np.array([1.0])})
    np.testing.assert_allclose(masks["vocals"], 0.9)


@pytest.mark.parametrize("n_sources", [2, 3])
def test_where_all_is_silent_the_masks_are_equal(n_sources):
    masks = ratio_masks(sources(np.zeros((n_sources, 4, 5), np.float32)))
    for mask in masks.values():
        np.testing.assert_allclose(mask, 1 / n_sources)


@given(MAGNITUDES)
def test_binary_masks_are_a_partition_that_gives_a_bin_to_the_loudest(magnitudes):
    masks = binary_masks(sources(magnitudes))
    assert np.array_equal(sum(masks.values()), np.ones(magnitudes[0].shape))
    first, second = masks.values()
    assert np.array_equal(first, magnitudes[0] >= magnitudes[1])
    assert np.array_equal(second, magnitudes[0] < magnitudes[1])


def test_a_tie_goes_to_the_first_source():
    masks = binary_masks({"vocals": np.array([1.0, 0.0]), "accompaniment": np.array([1.0, 0.0])})
    assert masks["vocals"].tolist() == [1, 1]
    assert masks["accompaniment"].tolist() == [0, 0]


def test_masks_leave_their_inputs_alone(rng):
    magnitudes = rng.uniform(0, 50, (2, 4, 5)).astype(np.float32)
    before = magnitudes.copy()
    for masks in (ratio_masks, wiener_masks, binary_masks):
        masks(sources(magnitudes))
    assert np.array_equal(magnitudes, before)


def inconsistency(waveform, magnitude):
    return np.linalg.norm(np.abs(SINE.forward(waveform)) - magnitude) / np.linalg.norm(magnitude)


def test_griffin_lim_comes_nearer_with_every_round(rng):
    mixture = rng.standard_normal((2, 9000)).astype(np.float32)
    spectrogram = SINE.forward(mixture)
    wanted = np.abs(spectrogram) * rng.uniform(0, 1, spectrogram.shape).astype(np.float32)
    found = [
        inconsistency(griffin_lim(wanted, spectrogram, SINE, 9000, n_iter=n_iter), wanted)
        for n_iter in range(12)
    ]
    assert all(after < before for before, after in pairwise(found))
    assert found[-1] < 0.9 * found[0]


def test_griffin_lim_without_rounds_keeps_the_mixtures_phase(rng):
    mixture = rng.standard_normal(9000).astype(np.float32)
    spectrogram = SINE.forward(mixture)
    mask = rng.uniform(0, 1, spectrogram.shape).astype(np.float32)
    masked = SINE.inverse(spectrogram * mask, 9000)
    kept = griffin_lim(np.abs(spectrogram) * mask, spectrogram, SINE, 9000, n_iter=0)
    np.testing.assert_allclose(kept, masked, atol=1e-5)


def test_griffin_lim_leaves_a_true_spectrogram_as_it_is(rng):
    waveform = rng.standard_normal(9000).astype(np.float32)
    spectrogram = SINE.forward(waveform)
    found = griffin_lim(np.abs(spectrogram), spectrogram, SINE, 9000, n_iter=5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, waveform, atol=1e-4)
