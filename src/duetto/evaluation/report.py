"""The scores of a set of tracks, as tables and as JSON files that can be read again."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from duetto.audio.atomic import replacing
from duetto.errors import MetricError
from duetto.evaluation.bootstrap import INTERVAL, Interval, interval
from duetto.evaluation.bss_eval import GlobalMeans, TrackScores, global_means

PROTOCOL = "BSS Eval v3 (bss_eval_sources, 512 taps, whole tracks)"
AGGREGATION = "mean over tracks weighted by their number of samples"

MEANS_OF = {"gnsdr": "nsdr", "gsir": "sir", "gsar": "sar", "si_sdr": "si_sdr"}
"""Global mean -> the score of a track that it is the mean of."""

_METRIC_NAMES = {"sdr": "SDR", "sir": "SIR", "sar": "SAR", "nsdr": "NSDR", "si_sdr": "SI-SDR"}


@dataclass(frozen=True)
class TrackResult:
    """The scores of one track.

    Attributes:
        name: of the track.
        song: the song that it belongs to.
        duration: seconds.
        scores: by source.
    """

    name: str
    song: str
    duration: float
    scores: dict[str, TrackScores]

    @property
    def has_silent_source(self) -> bool:
        """Whether a reference is silent, so that the means leave the track out."""
        return any(score.silent_reference for score in self.scores.values())

    def to_json(self) -> dict[str, Any]:
        """The scores in museval's JSON schema, with the whole track as its one frame.

        A score that is not finite is null, and its value stands under "not_finite".
        """
        targets = []
        for source, score in self.scores.items():
            metrics = {key: getattr(score, attribute) for attribute, key in _METRIC_NAMES.items()}
            values, not_finite = _split_finite(metrics)
            frame = {"time": 0.0, "duration": self.duration, "metrics": values, "not_finite": not_finite}
            counts = {"n_samples": score.n_samples, "silent_reference": score.silent_reference}
            targets.append({"name": source, "frames": [frame], **counts})
        return {"track": self.name, "song": self.song, "protocol": PROTOCOL, "targets": targets}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "TrackResult":
        """The inverse of `to_json`; raises whatever a wrong schema leads to."""
        scores, duration = {}, 0.0
        for target in content["targets"]:
            (frame,) = target["frames"]
            metrics, not_finite = frame["metrics"], frame["not_finite"]
            values = {
                attribute: float(not_finite.get(key, metrics[key]))
                for attribute, key in _METRIC_NAMES.items()
            }
            scores[target["name"]] = TrackScores(
                **values, n_samples=target["n_samples"], silent_reference=target["silent_reference"]
            )
            duration = frame["duration"]
        return cls(content["track"], content["song"], duration, scores)


@dataclass(frozen=True)
class Report:
    """The scores of a set of tracks.

    Attributes:
        results: one per track, in the order of the tracks.
        means: GNSDR, GSIR, GSAR and mean SI-SDR by source, in decibels.
    """

    results: list[TrackResult]
    means: dict[str, GlobalMeans]

    def summary(self) -> str:
        """A Markdown table of the global means, in decibels."""
        lines = ["| source | GNSDR | GSIR | GSAR | SI-SDR | tracks |", "|---|---|---|---|---|---|"]
        for source, mean in self.means.items():
            cells = " | ".join(f"{getattr(mean, key):.2f}" for key in MEANS_OF)
            lines.append(f"| {source} | {cells} | {mean.n_tracks} |")
        if n_silent := max(mean.n_silent for mean in self.means.values()):
            which = "track with a silent source is" if n_silent == 1 else "tracks with a silent source are"
            lines += ["", f"{n_silent} {which} left out of the means."]
        return "\n".join(lines)

    def per_track(self) -> str:
        """A Markdown table with a line for each track: SDR, SIR, SAR, NSDR and SI-SDR by source, in dB."""
        sources = list(self.means)
        heads = [f"{source} {name}" for source in sources for name in _METRIC_NAMES.values()]
        lines = [f"| track | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for result in self.results:
            cells = [
                f"{getattr(result.scores[source], attribute):.2f}"
                for source in sources
                for attribute in _METRIC_NAMES
            ]
            lines.append(f"| {result.name} | {' | '.join(cells)} |")
        return "\n".join(lines)

    @cached_property
    def averaged(self) -> list[TrackResult]:
        """The results that the means are over: those of tracks without a silent source."""
        return [result for result in self.results if not result.has_silent_source]

    def intervals(self, source: str) -> dict[str, Interval]:
        """Each global mean of a source with its 95 % bootstrap interval over songs."""
        return {mean: self.interval_of(self.values(source, mean)) for mean in MEANS_OF}

    def difference(self, other: "Report", source: str) -> dict[str, Interval]:
        """The mean difference to `other` on the same tracks, with its paired bootstrap interval over songs.

        Raises:
            MetricError: the reports are of different tracks.
        """
        self.check_tracks(other)
        return {
            mean: self.interval_of(self.values(source, mean) - other.values(source, mean))
            for mean in MEANS_OF
        }

    def check_tracks(self, other: "Report") -> None:
        """Raise `MetricError` if `other` is of other tracks."""
        if [result.name for result in self.averaged] != [result.name for result in other.averaged]:
            raise MetricError("the reports are of different tracks; score both again")

    def values(self, source: str, mean: str) -> np.ndarray:
        """The scores (n_tracks,) that a global mean is over."""
        return np.array([getattr(result.scores[source], MEANS_OF[mean]) for result in self.averaged], float)

    def interval_of(self, values: np.ndarray) -> Interval:
        """The mean of values (n_tracks,) or (n_runs, n_tracks) of these tracks with its interval."""
        weights = [next(iter(result.scores.values())).n_samples for result in self.averaged]
        return interval(values, np.array(weights, float), [result.song for result in self.averaged])

    def scores(self) -> dict[str, Any]:
        """The content of scores.json: the means, their intervals and the protocol.

        A mean that is not finite is null, and its value stands under "not_finite".
        """
        means = {}
        for source, mean in self.means.items():
            values, not_finite = _split_finite(asdict(mean))
            means[source] = values | ({"not_finite": not_finite} if not_finite else {})
        return {
            "protocol": PROTOCOL,
            "aggregation": AGGREGATION,
            "means": means,
            "interval": INTERVAL,
            "intervals": {
                source: {mean: [ends.low, ends.high] for mean, ends in self.intervals(source).items()}
                for source in self.means
            },
        }

    def save(self, folder: str | os.PathLike[str], *, about: Mapping[str, str | int] | None = None) -> None:
        """Write tracks/NAME.json for every track, scores.json with the means, and summary.md.

        Args:
            folder: is created if it does not exist; files in it are replaced.
            about: further entries of scores.json, such as the model and the dataset.

        Raises:
            OSError: a file cannot be written.
        """
        folder = Path(folder)
        for result in self.results:
            _write(folder / "tracks" / f"{result.name}.json", json.dumps(result.to_json(), indent=1))
        _write(folder / "scores.json", json.dumps({**(about or {}), **self.scores()}, indent=1))
        _write(folder / "summary.md", self.summary() + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str], names: Sequence[str]) -> "Report":
        """Read what `save` wrote, for the tracks of these names.

        Raises:
            MetricError: a file is missing or damaged, or the tracks do not have the means of scores.json.
        """
        folder = Path(folder)
        try:
            results = [
                TrackResult.from_json(json.loads((folder / "tracks" / f"{name}.json").read_text("utf-8")))
                for name in names
            ]
            report = cls(results, global_means([result.scores for result in results]))
            stored = json.loads((folder / "scores.json").read_text("utf-8"))["means"]
            same = all(
                math.isclose(stored[source][key], value, abs_tol=1e-6)
                for source, mean in report.scores()["means"].items()
                for key, value in mean.items()
                if isinstance(value, float)
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MetricError(f"{folder}: the scores cannot be read ({error}); delete the folder") from error
        if not same:
            raise MetricError(f"{folder}: the tracks do not have the means of scores.json; delete the folder")
        return report


def _split_finite(values: Mapping[str, float]) -> tuple[dict[str, float | None], dict[str, str]]:
    """The finite values, with None for the others, which are returned as text: JSON has no infinities."""
    not_finite = {key: str(value) for key, value in values.items() if not math.isfinite(value)}
    return {key: None if key in not_finite else value for key, value in values.items()}, not_finite


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
