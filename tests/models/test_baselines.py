"""Each conventional method on signals whose parts are known."""

from itertools import pairwise

import numpy as np
import pytest

from duetto import Separator, si_sdr
from duetto.evaluation.oracles import ORACLES, phase_sensitive_mask
from duetto.evaluation.tracks import TrackAudio
from duetto.models.baselines import METHODS
from duetto.models.baselines.hpss import sliding_median
from duetto.models.baselines.mlrr import MLRR, low_rank_parts
from duetto.models.baselines.proximal import shrink, shrink_singular_values
from duetto.models.baselines.repet_sim import repeating_magnitude
from duetto.models.baselines.rnmf import robust_nmf, sparse_part
from duetto.models.baselines.rpca import robust_pca
from helpers.quick import first
from helpers.signals import tone

RATE = 16_000


def gains(model, voice, music):
    """SI-SDR that each stem gains over the mixture."""
    mixture = (voice + music).astype(np.float32)[None]
    stems = Separator(model).separate(mixture, RATE)
    return {
        name: si_sdr(source[None], stems[name]) - si_sdr(source[None], mixture)
        for name, source in (("vocals", voice), ("accompaniment", music))
    }


@pytest.fixture
def low_rank_and_sparse(rng):
    low_rank = rng.uniform(0, 1, (120, 2)) @ rng.uniform(0, 1, (2, 90))
    sparse = np.where(rng.uniform(size=(120, 90)) < 0.05, rng.uniform(1, 3, (120, 90)), 0)
    return low_rank, sparse


def test_robust_pca_recovers_a_matrix_of_low_rank_under_sparse_errors(low_rank_and_sparse):
    """Candes et al., "Robust principal component analysis?", 2011: recovery is exact."""
    low_rank, sparse = low_rank_and_sparse
    for transposed in (False, True):
        matrix = (low_rank + sparse).T if transposed else low_rank + sparse
        found, rest = robust_pca(matrix)
        np.testing.assert_allclose(found.T if transposed else found, low_rank, atol=1e-5)
        np.testing.assert_allclose(rest.T if transposed else rest, sparse, atol=1e-5)
        assert np.linalg.norm(matrix - found - rest) <= 1e-6 * np.linalg.norm(matrix)


def test_parts_sum_to_the_matrix_where_nothing_is_of_low_rank(rng):
    matrix = rng.uniform(0, 1, (60, 200))
    found, rest = robust_pca(matrix)
    assert np.linalg.norm(matrix - found - rest) <= 1e-6 * np.linalg.norm(matrix)
    assert np.linalg.norm(rest) > 0.1 * np.linalg.norm(matrix)


def test_a_larger_lambda_leaves_less_to_the_sparse_part(low_rank_and_sparse):
    matrix = sum(low_rank_and_sparse)
    norms = [np.abs(robust_pca(matrix, sparsity=sparsity)[1]).sum() for sparsity in (0.03, 0.1, 0.3, 0.9)]
    assert all(after < before for before, after in pairwise(norms))


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_singular_values_are_shrunk_as_by_an_svd(rng, shape):
    matrix = rng.standard_normal(shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    for threshold in (0.1, values[9], 2 * values[0]):
        expected = left * np.maximum(values - threshold, 0) @ right
        np.testing.assert_allclose(shrink_singular_values(matrix, threshold), expected, atol=1e-9)


def test_shrinking_moves_towards_0():
    np.testing.assert_allclose(shrink(np.array([-3.0, -0.5, 0, 0.5, 3]), 1.0), [-2, 0, 0, 0, 2])


@pytest.mark.slow
@pytest.mark.parametrize("model", first(1, "rpca", "rpca-binary", "rnmf"))
def test_a_rare_tone_over_a_repeating_background_is_the_voice(model, rng):
    bar = 0.1 * rng.standard_normal(RATE // 2)
    music = np.tile(bar, 8)
    voice = np.zeros_like(music)
    for start, hertz in ((2000, 700), (19_000, 1100), (33_000, 900), (51_000, 1500)):
        voice[start : start + 8000] = tone(hertz, 0.5, RATE)[0]
    assert min(gains(model, voice, music).values()) > 5


def test_a_binary_mask_of_rpca_is_all_or_nothing(rng):
    magnitude = rng.uniform(0, 1, (1, 40, 513)).astype(np.float32)
    (soft,), (binary,) = (METHODS[name][0].masks(magnitude)[:, 0] for name in ("rpca", "rpca-binary"))
    assert set(np.unique(binary)) == {0, 1}
    assert np.array_equal(binary, soft > 0.5)


def test_low_rank_parts_of_two_dictionaries_are_recovered_under_sparse_errors(rng):
    dictionaries = [np.abs(np.linalg.qr(rng.standard_normal((120, 8)))[0]) for _ in range(2)]
    true = [each @ np.outer(rng.uniform(0, 1, 8), rng.uniform(0, 1, 60)) for each in dictionaries]
    errors = np.where(rng.uniform(size=(120, 60)) < 0.02, 1.0, 0)
    matrix, mixed = sum(true) + errors, [each.astype(np.float32) for each in dictionaries]
    parts = low_rank_parts(matrix.astype(np.float32), mixed, sparsity=0.3, tolerance=1e-5, max_rounds=200)
    for part, expected in zip(parts, true, strict=True):
        assert np.linalg.norm(part - expected) < 0.05 * np.linalg.norm(expected)


def test_the_dictionaries_that_ship_are_spectra_of_norm_1():
    for dictionary in MLRR().dictionaries.values():
        assert dictionary.shape == (513, 100)
        assert np.all(dictionary >= 0)
        np.testing.assert_allclose(np.linalg.norm(dictionary, axis=0), 1, atol=2e-3)


@pytest.mark.slow
def test_mlrr_takes_spectra_of_either_dictionary_for_that_source():
    voice, music = MLRR().dictionaries.values()
    changes = np.abs(np.sin(np.arange(80) / 7)).astype(np.float32)
    for dictionary, is_voice in ((voice, True), (music, False)):
        for spectrum in dictionary[:, ::50].T:
            magnitude = np.outer(changes, spectrum)
            mask = MLRR().masks(magnitude[None])[0, 0]
            vocals = (mask * magnitude)[:, 7:].sum() / magnitude[:, 7:].sum()
            assert (vocals if is_voice else 1 - vocals) > 0.6


def objective(magnitude, music, sparsity):
    sparse = sparse_part(magnitude, music, sparsity)
    model = music + sparse
    return float((magnitude * np.log(magnitude / model) - magnitude + model + sparsity * sparse).sum())


def test_the_objective_of_robust_nmf_never_rises(rng):
    magnitude = rng.uniform(0.01, 1, (40, 60)).astype(np.float32)
    found = []
    for n_rounds in range(30):
        spectra, activations = robust_nmf(magnitude, n_components=3, sparsity=0.3, n_rounds=n_rounds)
        found.append(objective(magnitude, spectra @ activations, 0.3))
    assert all(after <= before + 1e-5 * before for before, after in pairwise(found))
    assert found[-1] < 0.8 * found[0]


def test_the_sparse_part_is_the_best_one(rng):
    magnitude, music = rng.uniform(0.01, 1, (2, 20, 30))
    best = objective(magnitude, music, 0.4)
    sparse = sparse_part(magnitude, music, 0.4)
    for other in (sparse + 0.01, np.maximum(sparse - 0.01, 0)):
        model = music + other
        worse = (magnitude * np.log(magnitude / model) - magnitude + model + 0.4 * other).sum()
        assert worse > best


def test_robust_nmf_recovers_spectra_that_come_back(rng):
    spectra, activations = rng.uniform(0, 1, (50, 2)) ** 4, rng.uniform(0, 1, (2, 200)) ** 4
    music = (spectra @ activations + 1e-3).astype(np.float32)
    sparse = np.where(rng.uniform(size=music.shape) < 0.02, 3, 0).astype(np.float32)
    found = np.matmul(*robust_nmf(music + sparse, n_components=2, sparsity=0.5, n_rounds=300))
    assert np.linalg.norm(found - music) < 0.1 * np.linalg.norm(music)


def test_repeating_frames_are_found_whatever_lies_over_one_of_them(rng):
    bar = rng.uniform(0, 1, (80, 10)).astype(np.float32)
    music = np.tile(bar, 7)
    mixture = music.copy()
    mixture[20:25, 33] += 2
    found = repeating_magnitude(mixture, n_similar=7, distance=8)
    np.testing.assert_allclose(found, music, atol=1e-6)


def test_frames_that_are_taken_lie_apart():
    """All frames are alike in direction: with 10 frames between them 3 of 21 are taken, itself the first."""
    frames = np.ones((4, 1), np.float32) * np.float32(2) ** np.arange(21, dtype=np.float32)
    found = repeating_magnitude(frames, n_similar=100, distance=10)
    np.testing.assert_allclose(found[:, 0], 2.0**10)


@pytest.mark.parametrize("model", ["repet-sim", "repet-sim-gaussian"])
def test_repet_sim_finds_a_melody_over_bars_that_come_back(model, rng):
    music = np.tile(0.1 * rng.standard_normal(RATE), 8)
    voice = np.concatenate([tone(hertz, 0.5, RATE)[0] for hertz in np.linspace(300, 1900, 16)])
    assert min(gains(model, voice, music).values()) > 8


def test_the_masks_of_repet_sim_are_their_formulas():
    """Three frames 0.64 s apart, two of them alike and one with 4 times as much of one bin."""
    magnitude = np.zeros((1, 41, 513), np.float32)
    magnitude[0, [0, 20, 40], 100:120] = 0.25
    magnitude[0, 20, 105] = 1
    for name, expected in (("repet-sim", 3 / 4), ("repet-sim-gaussian", 1 - np.exp(-(np.log(4) ** 2) / 2))):
        mask = METHODS[name][0].masks(magnitude)[0, 0]
        assert mask[20, 105] == pytest.approx(expected, abs=1e-6)
        assert np.all(mask[[0, 20, 40], 110:120] == 0)


def test_low_frequencies_are_no_voice():
    audio = tone(60, 2, RATE)[0] * (np.arange(2 * RATE) < RATE)
    for model in ("repet-sim", "rnmf", "hpss"):
        vocals = Separator(model).separate(audio, RATE)["vocals"]
        assert np.linalg.norm(vocals) < 0.1 * np.linalg.norm(audio)


@pytest.mark.parametrize("shape", [(50, 3), (5, 700), (1, 4)])
@pytest.mark.parametrize("width", [1, 3, 17])
def test_the_sliding_median_is_the_median_of_a_mirrored_window(rng, shape, width):
    magnitude = rng.uniform(0, 1, shape).astype(np.float32)
    half = width // 2
    padded = np.pad(magnitude, [(half, half), (0, 0)], mode="symmetric")
    expected = [np.median(padded[row : row + width], axis=0) for row in range(shape[0])]
    assert np.array_equal(sliding_median(magnitude, width), expected)


def test_median_filters_take_a_sustained_tone_and_clicks_for_music():
    chord = sum(tone(hertz, 6, RATE, 0.1)[0] for hertz in (220, 330, 440))
    clicks = np.where(np.arange(6 * RATE) % (RATE // 2) == 0, 0.9, 0)
    time = np.arange(6 * RATE) / RATE
    voice = 0.3 * np.sin(2 * np.pi * (600 * time + 100 * time**2))  # rises by 200 Hz a second
    for music in (chord, clicks, chord + clicks):
        assert gains("hpss", voice, music)["vocals"] > 5


def test_each_stage_keeps_its_part():
    long, short = METHODS["hpss"]
    for stage, keeps_tone in ((long, False), (short, True)):
        for lines, is_tone in ((np.s_[:, 100], True), (np.s_[50, :], False)):
            magnitude = np.full((1, 100, stage.metadata.stft.n_bins), 1e-3, np.float32)
            magnitude[0][lines] = 1
            mask = stage.masks(magnitude)[0, 0][lines][60:90]
            assert np.all(mask > 0.99) if is_tone == keeps_tone else np.all(mask < 0.01)


def test_oracle_masks_are_their_formulas():
    vocals = np.array([[[3, 1, 0, 1j, -1]]], np.complex64)
    music = np.array([[[1, 3, 0, 1, 2]]], np.complex64)
    masks = {name: oracle.vocals_mask(vocals, music)[0, 0] for name, oracle in ORACLES.items()}
    np.testing.assert_allclose(masks["oracle-ratio"], [3 / 4, 1 / 4, 1 / 2, 1 / 2, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(masks["oracle-wiener"], [9 / 10, 1 / 10, 1 / 2, 1 / 2, 1 / 5], atol=1e-6)
    np.testing.assert_allclose(masks["oracle-binary"], [1, 0, 1, 1, 0])
    np.testing.assert_allclose(masks["oracle-phase"], [3 / 4, 1 / 4, 0, 1 / 2, 0], atol=1e-6)


def test_no_real_mask_comes_nearer_than_the_phase_sensitive_one(rng):
    vocals, music = rng.standard_normal((2, 6, 50)) + 1j * rng.standard_normal((2, 6, 50))
    mask = phase_sensitive_mask(vocals, music)
    error = np.abs(mask * (vocals + music) - vocals)
    for other in np.linspace(0, 1, 21):
        assert np.all(error <= np.abs(other * (vocals + music) - vocals) + 1e-9)


def test_oracles_rank_as_they_must(rng):
    time = np.arange(2 * RATE) / RATE
    voice = 0.3 * np.sin(2 * np.pi * (500 * time + 12 * np.sin(2 * np.pi * 5 * time)))
    audio = TrackAudio(
        {
            "vocals": (voice + 0.02 * rng.standard_normal(voice.size)).astype(np.float32)[None],
            "accompaniment": (0.1 * rng.standard_normal(voice.size)).astype(np.float32)[None],
        },
        RATE,
    )
    scores = {
        name: si_sdr(audio.sources["vocals"], oracle.separate_track(audio)["vocals"])
        for name, oracle in ORACLES.items()
    }
    assert max(scores, key=scores.get) == "oracle-phase"
    assert (
        scores["oracle-wiener"] > scores["oracle-ratio"] > si_sdr(audio.sources["vocals"], audio.mixture) + 3
    )
