"""Scores that a report left on disk -> means with confidence intervals over songs, and differences."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto.errors import MetricError
from duetto.evaluation.bootstrap import Interval, interval
from duetto.evaluation.datasets import Track

Array = NDArray[np.float64]

# global mean -> the track's score that it is the mean of
METRICS = {"gnsdr": "NSDR", "gsir": "SIR", "gsar": "SAR", "si_sdr": "SI-SDR"}


@dataclass(frozen=True)
class TrackTable:
    """Scores of the tracks of a split whose sources all sound, in the order of the tracks.

    Attributes:
        names: of the tracks.
        songs: that the tracks are of; the clips of one song are not independent.
        weights: length of each track.
        scores: source -> dB (n_tracks, 4): NSDR, SIR, SAR and SI-SDR.
    """

    names: list[str]
    songs: list[str]
    weights: Array
    scores: dict[str, Array]

    def means(self) -> dict[str, dict[str, Interval]]:
        """Source -> metric -> its mean and interval in dB."""
        return {
            source: {
                metric: interval(scores[:, column], self.weights, self.songs)
                for column, metric in enumerate(METRICS)
            }
            for source, scores in self.scores.items()
        }

    def difference(self, other: "TrackTable", source: str) -> dict[str, Interval]:
        """Metric -> how much better this is than `other` on the same tracks, with its interval.

        Raises:
            MetricError: other tracks.
        """
        if self.names != other.names:
            raise MetricError("two rows were scored on different tracks; score both again")
        return {
            metric: interval(
                self.scores[source][:, column] - other.scores[source][:, column], self.weights, self.songs
            )
            for column, metric in enumerate(METRICS)
        }


def read_scores(folder: Path, tracks: Sequence[Track]) -> TrackTable:
    """The scores that a report left in a folder, of the tracks whose sources all sound.

    Raises:
        MetricError: a track's file is missing or damaged, or they do not give the means in scores.json.
    """
    kept: list[Track] = []
    durations: list[float] = []
    columns: dict[str, list[list[float]]] = {}
    try:
        for track in tracks:
            said = json.loads((folder / "tracks" / f"{track.name}.json").read_text(encoding="utf-8"))
            frames = {target["name"]: target["frames"][0] for target in said["targets"]}
            metrics = {source: frame["metrics"] for source, frame in frames.items()}
            if any(math.isinf(values["SDR"]) and values["SAR"] > -math.inf for values in metrics.values()):
                continue  # a silent reference; a silent estimate has no SAR either
            kept.append(track)
            durations.append(next(iter(frames.values()))["duration"])
            for source, values in metrics.items():
                columns.setdefault(source, []).append([values[key] for key in METRICS.values()])
        means = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["means"]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise MetricError(f"{folder}: scores that cannot be read ({error}); delete the folder") from error
    table = TrackTable(
        [track.name for track in kept],
        [track.song for track in kept],
        np.array(durations),
        {source: np.array(rows, float) for source, rows in columns.items()},
    )
    _check_means(folder, table, means)
    return table


def _check_means(folder: Path, table: TrackTable, means: dict[str, dict[str, float]]) -> None:
    for source, said in means.items():
        for column, metric in enumerate(METRICS):
            values = table.scores[source][:, column]
            mean = np.average(values, weights=table.weights) if np.isfinite(values).all() else said[metric]
            if abs(mean - said[metric]) > 1e-6:
                raise MetricError(
                    f"{folder}: the tracks give {source} {metric} {mean:.6f} dB, scores.json says "
                    f"{said[metric]:.6f}; delete the folder to have them scored again"
                )
