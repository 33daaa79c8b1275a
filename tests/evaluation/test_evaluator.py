import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from duetto.errors import DatasetError, MetricError
from duetto.evaluation.bss_eval import GlobalMeans
from duetto.evaluation.evaluator import evaluate
from duetto.evaluation.tracks import Track, TrackAudio

SAMPLE_RATE = 16000
N_SAMPLES = {"a": 3000, "b": 9000, "c": 5000}


def make_track(name: str, n_samples: int, *, silent: str = "") -> Track:
    rng = np.random.default_rng(n_samples)
    sources = {source: rng.normal(0, 0.1, (1, n_samples)) for source in ("vocals", "accompaniment")}
    sources["vocals"] *= 2  # so that the two sources do not score alike
    audio = TrackAudio(
        {source: (signal * (source != silent)).astype(np.float32) for source, signal in sources.items()},
        SAMPLE_RATE,
    )
    return Track(name, f"song of {name}", None, lambda: audio)


@pytest.fixture
def tracks() -> list[Track]:
    return [make_track(name, n_samples) for name, n_samples in N_SAMPLES.items()]


class Fake:
    """A separator that knows the references and returns what `change` makes of them."""

    def __init__(self, tracks: list[Track], change: Callable[[np.ndarray, np.ndarray], Any]) -> None:
        loaded = [track.load() for track in tracks]
        self.references = {audio.mixture.tobytes(): audio.sources for audio in loaded}
        self.change = change

    def separate(self, audio: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
        assert sample_rate == SAMPLE_RATE
        reference = self.references[audio.tobytes()]
        return {source: np.float32(self.change(signal, audio)) for source, signal in reference.items()}


def oracle(tracks: list[Track]) -> Fake:
    return Fake(tracks, lambda reference, mixture: reference)


def leaky(tracks: list[Track]) -> Fake:
    """Leaves a part of the mixture in, more of it in longer tracks."""
    return Fake(tracks, lambda reference, mixture: reference + mixture * mixture.shape[1] / 20000)


def test_references_score_far_above_any_estimate(tracks: list[Track]) -> None:
    for mean in evaluate(oracle(tracks), tracks).means.values():
        assert mean.gnsdr > 100
        assert mean.gsir > 100
        assert mean.gsar > 100
        assert mean.si_sdr > 100


def test_the_mixture_gains_nothing_over_itself(tracks: list[Track]) -> None:
    report = evaluate(Fake(tracks, lambda reference, mixture: mixture), tracks)
    for result in report.results:
        for score in result.scores.values():
            assert score.nsdr == pytest.approx(0, abs=1e-6)
    # the vocals are 6 dB above the accompaniment, and 512 taps fit noise of so short tracks a little better
    assert report.results[1].scores["vocals"].sdr == pytest.approx(6.02, abs=1)
    assert report.results[1].scores["accompaniment"].sdr == pytest.approx(-6.02, abs=1.5)


def test_means_are_weighted_by_length(tracks: list[Track]) -> None:
    report = evaluate(leaky(tracks), tracks)
    assert [result.name for result in report.results] == list(N_SAMPLES)
    weights = list(N_SAMPLES.values())
    for source, mean in report.means.items():
        scores = [result.scores[source] for result in report.results]
        assert scores[1].nsdr < scores[2].nsdr < scores[0].nsdr
        assert mean.gnsdr == pytest.approx(np.average([s.nsdr for s in scores], weights=weights))
        assert mean.gsir == pytest.approx(np.average([s.sir for s in scores], weights=weights))
        assert mean.gsar == pytest.approx(np.average([s.sar for s in scores], weights=weights))
        assert mean.gnsdr != pytest.approx(np.mean([s.nsdr for s in scores]), abs=0.01)


@pytest.mark.slow
def test_results_depend_neither_on_jobs_nor_on_who_is_done_first(tracks: list[Track]) -> None:
    separator = leaky(tracks)

    class SlowAtFirst:
        def separate(self, audio: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
            time.sleep(0.2 if audio.shape[1] == N_SAMPLES["a"] else 0)
            return separator.separate(audio, sample_rate)

    assert evaluate(separator, tracks, jobs=1) == evaluate(SlowAtFirst(), tracks, jobs=3)


def test_progress_counts_the_tracks(tracks: list[Track]) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(oracle(tracks), tracks, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_tracks_with_a_silent_source_are_counted_and_left_out(tracks: list[Track]) -> None:
    odd = make_track("silent", 4000, silent="vocals")
    report = evaluate(leaky([*tracks, odd]), [*tracks, odd])
    assert report.means == {
        source: GlobalMeans(**{**vars(mean), "n_silent": 1})
        for source, mean in evaluate(leaky(tracks), tracks).means.items()
    }
    assert report.summary().endswith("\n\n1 track with a silent source is left out of the means.")
    assert len(report.results) == 4


@pytest.mark.slow
def test_nothing_to_average_is_an_error() -> None:
    silent = [make_track("silent", 4000, silent="vocals")]
    with pytest.raises(MetricError, match="none of 1 tracks"):
        evaluate(oracle(silent), silent)
    with pytest.raises(MetricError, match="none of 0 tracks"):
        evaluate(oracle([]), [])


def test_the_first_broken_track_ends_the_work(tracks: list[Track]) -> None:
    seen = []

    def broken() -> TrackAudio:
        raise DatasetError("a.wav is damaged")

    def counted() -> TrackAudio:
        seen.append(1)
        time.sleep(0.01)
        return tracks[0].load()

    many = [Track("a", "a", None, broken)] + [Track(f"t{k}", "t", None, counted) for k in range(100)]
    with pytest.raises(DatasetError, match=r"a\.wav is damaged"):
        evaluate(oracle(tracks), many, jobs=2)
    assert len(seen) < 50
