"""Reports: tables, JSON files and back, intervals and differences."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duetto.errors import MetricError
from duetto.evaluation.bss_eval import GlobalMeans, TrackScores, global_means
from duetto.evaluation.report import Report, TrackResult


def test_summary_is_a_markdown_table() -> None:
    means = {
        "vocals": GlobalMeans(7.449, 13.08, 9.684, 5.0, 279, 0),
        "accompaniment": GlobalMeans(-0.001, 1.0, 2.0, float("-inf"), 279, 0),
    }
    assert Report([], means).summary() == (
        "| source | GNSDR | GSIR | GSAR | SI-SDR | tracks |\n"
        "|---|---|---|---|---|---|\n"
        "| vocals | 7.45 | 13.08 | 9.68 | 5.00 | 279 |\n"
        "| accompaniment | -0.00 | 1.00 | 2.00 | -inf | 279 |"
    )


def report_of(**scores: float) -> Report:
    figures = {"sdr": 1.0, "sir": 2.0, "sar": 3.0, "nsdr": 0.5, "si_sdr": 0.25} | scores
    track = TrackScores(**figures, n_samples=8000, silent_reference=False)
    means = {"vocals": GlobalMeans(figures["nsdr"], 2.0, 3.0, 0.25, 1, 0)}
    return Report([TrackResult("amy_1", "amy", 0.5, {"vocals": track})], means)


def strictly(path: Path) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def test_a_line_for_each_track() -> None:
    assert report_of(sir=math.inf).per_track() == (
        "| track | vocals SDR | vocals SIR | vocals SAR | vocals NSDR | vocals SI-SDR |\n"
        "|---|---|---|---|---|---|\n"
        "| amy_1 | 1.00 | inf | 3.00 | 0.50 | 0.25 |"
    )


def test_track_scores_are_in_the_schema_of_museval_and_name_their_protocol(tmp_path: Path) -> None:
    report_of(sir=math.inf, nsdr=-math.inf).save(tmp_path)
    assert strictly(tmp_path / "tracks" / "amy_1.json") == {
        "track": "amy_1",
        "song": "amy",
        "protocol": "BSS Eval v3 (bss_eval_sources, 512 taps, whole tracks)",
        "targets": [
            {
                "name": "vocals",
                "frames": [
                    {
                        "time": 0.0,
                        "duration": 0.5,
                        "metrics": {"SDR": 1.0, "SIR": None, "SAR": 3.0, "NSDR": None, "SI-SDR": 0.25},
                        "not_finite": {"SIR": "inf", "NSDR": "-inf"},
                    }
                ],
                "n_samples": 8000,
                "silent_reference": False,
            }
        ],
    }
    means = strictly(tmp_path / "scores.json")["means"]["vocals"]
    assert (means["gnsdr"], means["gsar"], means["not_finite"]) == (None, 3.0, {"gnsdr": "-inf"})


def test_scores_name_the_protocol_the_aggregation_and_what_they_are_about(tmp_path: Path) -> None:
    report_of().save(tmp_path, about={"model": "drnn", "split": "test"})
    scores = strictly(tmp_path / "scores.json")
    assert (scores["model"], scores["split"]) == ("drnn", "test")
    assert scores["aggregation"] == "mean over tracks weighted by their number of samples"
    assert scores["protocol"].startswith("BSS Eval v3")
    assert scores["means"]["vocals"]["gnsdr"] == 0.5
    assert (tmp_path / "summary.md").read_text("utf-8") == report_of().summary() + "\n"


def test_a_file_that_cannot_be_replaced_leaves_no_part_behind(tmp_path: Path) -> None:
    (tmp_path / "scores.json" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"scores\.json"):
        report_of().save(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_scores_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    report_of(nsdr=1.0).save(tmp_path)
    report_of(nsdr=2.0).save(tmp_path)
    assert strictly(tmp_path / "scores.json")["means"]["vocals"]["gnsdr"] == 2.0
    assert len(list(tmp_path.rglob("*"))) == 4


# --- read again


def report_of_tracks(rng: np.random.Generator, n_tracks: int = 6, **changes: Any) -> Report:
    results = []
    for k in range(n_tracks):
        scores = {
            source: TrackScores(*rng.normal(5, 3, 5), n_samples=8000 + k, silent_reference=False)
            for source in ("vocals", "accompaniment")
        }
        results.append(TrackResult(f"t{k}", f"s{k // 3}", 0.5, scores))
    results[1].scores["vocals"] = replace(results[1].scores["vocals"], **changes)
    return Report(results, global_means([result.scores for result in results]))


@pytest.mark.parametrize(
    "changes", [{}, {"sdr": -math.inf, "nsdr": -math.inf}, {"sdr": -math.inf, "silent_reference": True}]
)
def test_a_saved_report_is_read_again(
    tmp_path: Path, rng: np.random.Generator, changes: dict[str, Any]
) -> None:
    saved = report_of_tracks(rng, **changes)
    saved.save(tmp_path)
    loaded = Report.load(tmp_path, [result.name for result in saved.results])
    assert loaded == saved
    assert len(loaded.averaged) == 6 - changes.get("silent_reference", False)


def test_scores_that_were_tampered_with_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    saved = report_of_tracks(rng)
    names = [result.name for result in saved.results]
    saved.save(tmp_path)
    with pytest.raises(MetricError, match=r"cannot be read .*delete the folder"):
        Report.load(tmp_path, [*names, "missing"])
    path = tmp_path / "tracks" / "t2.json"
    track = json.loads(path.read_text("utf-8"))
    track["targets"][0]["frames"][0]["metrics"]["NSDR"] += 1
    path.write_text(json.dumps(track), encoding="utf-8")
    with pytest.raises(MetricError, match="do not have the means"):
        Report.load(tmp_path, names)


def test_a_difference_is_taken_track_by_track(rng: np.random.Generator) -> None:
    """Systems differ much less than tracks do, so their difference is known better than either mean."""
    one = report_of_tracks(rng, n_tracks=60)
    better = [
        replace(
            result,
            scores={
                source: replace(score, nsdr=score.nsdr + 0.5 + rng.normal(0, 0.1))
                for source, score in result.scores.items()
            },
        )
        for result in one.results
    ]
    other = Report(better, global_means([result.scores for result in better]))
    difference = other.difference(one, "vocals")["gnsdr"]
    assert 0.4 < difference.low < difference.high < 0.6
    means = [report.intervals("vocals")["gnsdr"] for report in (other, one)]
    assert difference.mean == pytest.approx(means[0].mean - means[1].mean)
    assert means[0].mean == pytest.approx(other.means["vocals"].gnsdr)
    assert means[0].low < means[1].high
    with pytest.raises(MetricError, match="different tracks"):
        other.difference(Report(one.results[1:], one.means), "vocals")
