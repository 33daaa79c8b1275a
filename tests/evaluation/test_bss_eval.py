import json
import math
import warnings
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from duetto.errors import MetricError
from duetto.evaluation.bss_eval import GlobalMeans, TrackScores, bss_eval, global_means, score_track, si_sdr

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=10, phases=[Phase.generate])


def lcg(state):
    """White noise that any language can repeat."""
    samples = []
    for _ in range(8000):
        state = (1664525 * state + 1013904223) % 2**32
        samples.append(state / 2**31 - 1)
    return np.array(samples)


def filtered(signal, *taps):
    return np.convolve(signal, taps)[: len(signal)]


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def named(signals):
    return dict(zip(["vocals", "accompaniment"], signals, strict=True))


def figures(scores):
    """SDR, SIR and SAR, a row per source."""
    return np.array([astuple(score) for score in scores.values()])


def leaky_pair(seed, n_samples=2000):
    """Two references and estimates with leakage, a filter and noise: no score is beyond 60 dB."""
    references = noise(seed, 2, n_samples)
    estimates = references + 0.3 * references[::-1] + 0.2 * noise(seed + 1, 2, n_samples)
    estimates[0] = filtered(estimates[0], 0.8, 0.3, -0.1)
    return references, estimates


REFERENCE_0 = filtered(lcg(1), 1, 0.5, 0.25)
REFERENCE_1 = filtered(lcg(2), 1, -0.5)
GOLDEN = {
    "noise": (
        (REFERENCE_0 + 0.1 * lcg(3), REFERENCE_1 + 0.1 * lcg(4)),
        ((21.594442, 33.406638, 21.892416), (21.363442, 32.805855, 21.689019)),
    ),
    "filter and noise": (
        (
            filtered(REFERENCE_0, 0.6, 0.3, -0.1) + 0.05 * lcg(3),
            filtered(REFERENCE_1, 0.8, 0.1) + 0.05 * lcg(4),
        ),
        ((25.253340, 37.066267, 25.550133), (25.052544, 36.494428, 25.376860)),
    ),
    "leakage": (
        (REFERENCE_0 + 0.2 * REFERENCE_1, 0.1 * REFERENCE_0 + REFERENCE_1),
        ((14.462659, 14.462659, math.inf), (20.042860, 20.042860, math.inf)),
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_figures(case):
    estimates, expected = GOLDEN[case]
    found = figures(bss_eval(named([REFERENCE_0, REFERENCE_1]), named(estimates)))
    # An estimate without artefacts has an infinite SAR but for rounding.
    found[found > 100] = math.inf
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("clip", ["Ani_1_01", "Ani_1_02", "abjones_5_08", "amy_9_09"])
def test_figures_of_the_papers_own_estimates(clip, shared):
    import soundfile

    authors = shared / "golden" / "authors"
    path = next((shared / "data" / "mir-1k").glob(f"*/{clip}.flac"))
    accompaniment, vocals = soundfile.read(path)[0].T
    references = {"vocals": vocals, "accompaniment": accompaniment}
    references = {name: signal / np.linalg.norm(signal) for name, signal in references.items()}
    golden = json.loads((authors / "scores.json").read_text())[clip]
    estimates = {
        name: soundfile.read(authors / f"{clip}.{name}.flac")[0][: golden["n_samples"]] for name in references
    }

    for name, score in score_track(sum(references.values()), references, estimates).items():
        found = {"SDR": score.sdr, "SIR": score.sir, "SAR": score.sar, "mixture_SDR": score.sdr - score.nsdr}
        assert found == pytest.approx(golden[name], rel=0, abs=1e-4)
        assert score.n_samples == golden["n_samples"]


# Two sources of 512 taps need this many samples to leave room for artefacts.
@pytest.mark.slow
@given(seeds, st.integers(1500, 9000), st.floats(0.01, 2))
@settings(max_examples=6, phases=[Phase.generate])  # shrinking would take minutes
def test_equals_mir_eval(seed, n_samples, leakage):
    from mir_eval.separation import bss_eval_sources

    references = noise(seed, 2, n_samples)
    estimates = (np.eye(2) + leakage * noise(seed + 1, 2, 2)) @ references + 0.1 * noise(
        seed + 2, 2, n_samples
    )
    with warnings.catch_warnings():
        # mir_eval 0.8 announces that its separation module leaves in 0.9; the project pins 0.8.2.
        warnings.simplefilter("ignore", FutureWarning)
        expected = bss_eval_sources(references, estimates, compute_permutation=False)[:3]
    found = bss_eval(named(references), named(estimates))
    np.testing.assert_allclose(figures(found), np.transpose(expected), rtol=0, atol=1e-6)


@given(seeds, st.floats(-6, 6), st.floats(-6, 6))
@quick
def test_loudness_of_references_and_estimates_does_not_matter(seed, log_reference, log_estimate):
    references, estimates = leaky_pair(seed)
    gains = np.array([[10**log_reference], [1]])
    expected = figures(bss_eval(named(references), named(estimates), filter_length=64))
    louder = bss_eval(named(references * gains), named(-estimates * 10**log_estimate), filter_length=64)
    np.testing.assert_allclose(figures(louder), expected, rtol=0, atol=1e-6)


@given(seeds)
@quick
def test_sources_pair_by_name_and_not_by_position(seed):
    references, estimates = leaky_pair(seed)
    expected = bss_eval(named(references), named(estimates), filter_length=64)
    reordered = bss_eval(dict(reversed(named(references).items())), named(estimates), filter_length=64)
    assert list(reordered) == ["accompaniment", "vocals"]
    for name in expected:
        assert astuple(reordered[name]) == pytest.approx(astuple(expected[name]), rel=0, abs=1e-9)


def explicit_figures(references, estimates, n_taps):
    """The definition, by least squares on a matrix of delayed references."""

    def decibels(numerator, denominator):
        return 10 * np.log10(np.sum(numerator**2) / np.sum(denominator**2))

    def delayed(signal):
        return [np.pad(signal, (delay, n_taps - 1 - delay)) for delay in range(n_taps)]

    def project(signal, basis):
        basis = np.transpose(basis)
        return basis @ np.linalg.lstsq(basis, signal, rcond=1e-9)[0]

    rows = []
    for reference, estimate in zip(references, np.pad(estimates, ((0, 0), (0, n_taps - 1))), strict=True):
        s = project(estimate, delayed(reference))
        p = project(estimate, [column for source in references for column in delayed(source)])
        rows.append((decibels(s, estimate - s), decibels(s, p - s), decibels(p, estimate - p)))
    return rows


@given(seeds, st.sampled_from(["independent", "delayed copy", "combination", "one sample apart"]))
@settings(max_examples=20, phases=[Phase.generate])
def test_equals_the_definition_also_where_references_are_dependent(seed, kind):
    references, estimates = leaky_pair(seed, 300)
    if kind == "delayed copy":
        references[1] = np.roll(references[0] * (np.arange(300) < 290), 3)
    if kind == "one sample apart":
        references[0, 299] = 0
        references[1] = np.roll(references[0], 1)
    if kind == "combination":
        references = np.vstack([references, references[0] + 2 * references[1]])
        estimates = np.vstack([estimates, noise(seed + 3, 1, 300)])
    n_taps = 12
    names = ["a", "b", "c"][: len(references)]
    found = bss_eval(
        dict(zip(names, references, strict=True)),
        dict(zip(names, estimates, strict=True)),
        filter_length=n_taps,
    )
    expected = explicit_figures(references, estimates, n_taps)
    np.testing.assert_allclose(figures(found), expected, rtol=0, atol=1e-6)


def disjoint_signals():
    """Two references and an artefact so far apart in time that 512 taps do not reach from one to another."""
    signals = np.zeros((3, 9000))
    for k, signal in enumerate(signals):
        signal[3000 * k : 3000 * k + 2000] = noise(k, 2000)
    return signals / np.linalg.norm(signals, axis=1, keepdims=True)


def test_energy_orthogonal_to_every_reference_is_artefact_alone():
    reference, other, artefact = disjoint_signals()
    score = bss_eval(named([reference, other]), named([reference + 0.1 * artefact, other]))["vocals"]
    assert score.sdr == pytest.approx(20, abs=1e-9)
    assert score.sar == pytest.approx(20, abs=1e-9)
    assert score.sir > 200


def test_energy_of_the_other_reference_is_interference_alone():
    reference, other, _ = disjoint_signals()
    score = bss_eval(named([reference, other]), named([reference + 0.1 * other, other]))["vocals"]
    assert score.sdr == pytest.approx(20, abs=1e-9)
    assert score.sir == pytest.approx(20, abs=1e-9)
    assert score.sar > 200


def test_a_silent_reference_has_no_target_and_does_not_touch_the_other():
    references, estimates = leaky_pair(1)
    found = bss_eval(named([references[0], 0 * references[1]]), named(estimates), filter_length=64)
    alone = bss_eval({"vocals": references[0]}, {"vocals": estimates[0]}, filter_length=64)["vocals"]
    assert (found["accompaniment"].sdr, found["accompaniment"].sir) == (-math.inf, -math.inf)
    assert found["vocals"].sdr == pytest.approx(alone.sdr, abs=1e-9)
    assert found["vocals"].sar == pytest.approx(alone.sar, abs=1e-9)
    assert found["vocals"].sir > 100
    assert alone.sir == math.inf


def test_a_silent_estimate_scores_minus_infinity():
    references, estimates = leaky_pair(2)
    found = bss_eval(named(references), named([0 * estimates[0], estimates[1]]), filter_length=64)
    assert astuple(found["vocals"]) == (-math.inf,) * 3
    assert np.isfinite(astuple(found["accompaniment"])).all()


@pytest.mark.slow
def test_identical_references_leave_no_interference():
    references, estimates = leaky_pair(3)
    twice = bss_eval(named([references[0], references[0]]), named(estimates))
    alone = bss_eval({"vocals": references[0]}, {"vocals": estimates[0]})["vocals"]
    assert twice["vocals"].sir > 100
    assert twice["vocals"].sdr == pytest.approx(alone.sdr, abs=1e-6)
    assert twice["vocals"].sar == pytest.approx(alone.sar, abs=1e-6)


@pytest.mark.slow
def test_references_without_high_frequencies_are_scored_in_their_band():
    n_samples = 8192
    spectra = np.fft.rfft(noise(4, 2, n_samples))
    spectra[:, n_samples // 8 :] = 0
    references = np.fft.irfft(spectra)
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    found = figures(bss_eval(named(references), named(references + 0.1 * references[::-1])))
    # A tenth of another noise is 20 dB of interference, but for what filters of one can make of the other.
    np.testing.assert_allclose(found[:, :2], 20, rtol=0, atol=1)
    assert (found[:, 2] > 100).all()


@pytest.mark.slow
def test_channels_share_one_ratio_of_energies():
    reference, other, artefact = disjoint_signals()
    silence = np.zeros_like(reference)
    estimate = reference + 0.1 * artefact
    others = np.stack([other, other])
    for second_reference, second_estimate, expected in [
        (reference, reference, 20 + 10 * math.log10(2)),  # twice the target, the same artefact
        (reference, estimate, 20),
        (silence, silence, 20),
    ]:
        references = named([np.stack([reference, second_reference]), others])
        estimates = named([np.stack([estimate, second_estimate]), others])
        assert bss_eval(references, estimates)["vocals"].sdr == pytest.approx(expected, abs=1e-9)


def test_signals_are_trimmed_to_the_shortest_and_left_unchanged():
    references, estimates = (np.float32(signals) for signals in leaky_pair(5))
    before = references.copy(), estimates.copy()
    found = bss_eval(named(references), named([estimates[0], estimates[1, :1900]]), filter_length=64)
    assert found == bss_eval(named(references[:, :1900]), named(estimates[:, :1900]), filter_length=64)
    np.testing.assert_array_equal(references, before[0])
    np.testing.assert_array_equal(estimates, before[1])


@pytest.mark.parametrize(
    ("references", "estimates", "message"),
    [
        ({}, {}, r"0 references"),
        ({"vocals": [1, 2]}, {"voice": [1, 2]}, r"estimates are named \['voice'\]"),
        ({"vocals": [1, 2]}, {}, r"estimates are named \[\]"),
        ({"vocals": []}, {"vocals": [1]}, r"reference 'vocals' has shape \(0,\)"),
        ({"vocals": [1]}, {"vocals": [[[1]]]}, r"estimate 'vocals' has shape \(1, 1, 1\)"),
        ({"vocals": [[1], [2]]}, {"vocals": [1]}, r"shape \(2, 1\)"),
        ({"vocals": [1, 2]}, {"vocals": [[1, 2], [3, 4]]}, r"\[1, 2\] channels"),
        ({"vocals": [1, math.nan]}, {"vocals": [1, 2]}, r"reference 'vocals' holds NaN"),
        ({"vocals": [1, 2]}, {"vocals": [1, math.inf]}, r"estimate 'vocals' holds NaN or infinity"),
    ],
)
def test_refuses_what_cannot_be_scored(references, estimates, message):
    with pytest.raises(MetricError, match=message):
        bss_eval(references, estimates)


def test_refuses_a_filter_without_taps():
    with pytest.raises(MetricError, match="filter_length is 0"):
        bss_eval({"vocals": [1]}, {"vocals": [1]}, filter_length=0)


@given(seeds, st.integers(1, 2))
@quick
def test_si_sdr_is_bss_eval_with_one_tap(seed, n_channels):
    reference, error = noise(seed, 2, n_channels, 500) + 0.3
    estimate = reference + 0.5 * error
    expected = bss_eval({"vocals": reference}, {"vocals": estimate}, filter_length=1)["vocals"].sdr
    assert si_sdr(reference, estimate) == pytest.approx(expected, rel=0, abs=1e-9)


def test_si_sdr_forgives_a_gain_but_no_offset():
    time = np.arange(1000) / 1000
    reference, orthogonal = np.sin(2 * np.pi * 50 * time), np.cos(2 * np.pi * 50 * time)
    assert si_sdr(reference, -3 * (reference + 0.1 * orthogonal)) == pytest.approx(20, abs=1e-9)
    assert si_sdr(reference, reference + 0.1) == pytest.approx(10 * math.log10(0.5 / 0.01), abs=1e-9)
    assert si_sdr(reference, 2 * reference) == math.inf
    assert si_sdr(reference, 0 * reference) == -math.inf
    assert si_sdr(0 * reference, reference) == -math.inf


def test_the_mixture_as_estimate_gains_nothing():
    references = noise(6, 2, 3000)
    mixture = references.sum(axis=0)
    for score in score_track(mixture, named(references), named([mixture, mixture])).values():
        assert score.nsdr == pytest.approx(0, abs=1e-9)
        assert score.n_samples == 3000
        assert not score.silent_reference


def test_a_reference_is_silent_if_its_scored_samples_are():
    references, estimates = leaky_pair(7)
    references[0, :1500] = 0
    mixture = references.sum(axis=0)
    track = score_track(mixture, named(references), named(estimates[:, :1500]), filter_length=64)
    assert track["vocals"].silent_reference
    assert track["vocals"].sdr == -math.inf
    assert not track["accompaniment"].silent_reference
    assert track["accompaniment"].n_samples == 1500


def test_nsdr_of_a_silent_reference_is_zero_and_not_nan():
    references, estimates = leaky_pair(8)
    silent = named([0 * references[0], references[1]])
    assert score_track(references[1], silent, named(estimates), filter_length=64)["vocals"].nsdr == 0


FIRST = TrackScores(sdr=8, sir=15, sar=9, nsdr=6, si_sdr=5, n_samples=3000, silent_reference=False)
SECOND = TrackScores(sdr=4, sir=7, sar=5, nsdr=2, si_sdr=1, n_samples=1000, silent_reference=False)


def test_global_means_are_weighted_by_length():
    means = global_means([{"vocals": FIRST}, {"vocals": SECOND}])["vocals"]
    assert means == GlobalMeans(gnsdr=5, gsir=13, gsar=8, si_sdr=4, n_tracks=2, n_silent=0)


def test_a_track_with_a_silent_reference_is_left_out_of_the_means_of_all_its_sources():
    silent = replace(SECOND, sdr=-math.inf, nsdr=0, silent_reference=True)
    tracks = [{"vocals": silent, "accompaniment": SECOND}, {"vocals": FIRST, "accompaniment": FIRST}]
    for mean in global_means(tracks).values():
        assert (mean.gnsdr, mean.n_tracks, mean.n_silent) == (6, 1, 1)


def test_a_lost_source_is_not_averaged_away():
    lost, perfect = replace(FIRST, nsdr=-math.inf), replace(FIRST, nsdr=math.inf)
    assert global_means([{"vocals": lost}, {"vocals": perfect}])["vocals"].gnsdr == -math.inf
    assert global_means([{"vocals": SECOND}, {"vocals": perfect}])["vocals"].gnsdr == math.inf


def test_refuses_to_average_nothing_or_different_sources():
    with pytest.raises(MetricError, match="none of 0 tracks"):
        global_means([])
    with pytest.raises(MetricError, match="none of 1 tracks"):
        global_means([{"vocals": replace(FIRST, silent_reference=True)}])
    with pytest.raises(MetricError, match="scores of a track are named"):
        global_means([{"vocals": FIRST}, {"drums": FIRST}])
