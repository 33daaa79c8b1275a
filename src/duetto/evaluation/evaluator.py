"""Tracks x separator -> scores -> a report as Markdown and JSON."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from duetto.audio.atomic import replacing
from duetto.errors import ConfigError
from duetto.evaluation.bootstrap import INTERVAL, interval
from duetto.evaluation.bss_eval import GlobalMeans, TrackScores, global_means, score_track
from duetto.evaluation.datasets import Track, TrackAudio
from duetto.evaluation.oracles import ORACLES
from duetto.separation.separator import Separator

PROTOCOL = "BSS Eval 3.0 bss_eval_sources, 512 taps"
AGGREGATION = "mean over tracks weighted by their number of samples"


Stems = dict[str, NDArray[np.float32]]


class SeparatesWaveforms(Protocol):
    """Anything that takes a waveform apart, such as a Separator."""

    def separate(self, audio: ArrayLike, sample_rate: int) -> Stems:
        """Waveform (n_channels, n_samples) to stems of the same shape by name."""


@dataclass(frozen=True)
class TrackResult:
    """The scores of one track.

    Attributes:
        name: of the track.
        song: the song it is part of.
        duration: seconds.
        scores: by source.
    """

    name: str
    song: str
    duration: float
    scores: dict[str, TrackScores]

    def to_museval(self) -> dict[str, Any]:
        """The scores in museval's JSON schema, the whole track as its one frame."""
        return {
            "targets": [
                {
                    "name": source,
                    "frames": [
                        {
                            "time": 0.0,
                            "duration": self.duration,
                            "metrics": {
                                "SDR": score.sdr,
                                "SIR": score.sir,
                                "SAR": score.sar,
                                "NSDR": score.nsdr,
                                "SI-SDR": score.si_sdr,
                            },
                        }
                    ],
                }
                for source, score in self.scores.items()
            ]
        }


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
            figures = (mean.gnsdr, mean.gsir, mean.gsar, mean.si_sdr)
            cells = " | ".join(f"{figure:.2f}" for figure in figures)
            lines.append(f"| {source} | {cells} | {mean.n_tracks} |")
        if n_silent := max(mean.n_silent for mean in self.means.values()):
            who = "track with a silent source is" if n_silent == 1 else "tracks with a silent source are"
            lines += ["", f"{n_silent} {who} left out of the means."]
        return "\n".join(lines)

    def scores(self) -> dict[str, Any]:
        """What scores.json says: the means, their intervals, and how both were taken."""
        return {
            "protocol": PROTOCOL,
            "aggregation": AGGREGATION,
            "means": {source: vars(mean) for source, mean in self.means.items()},
            "interval": INTERVAL,
            "intervals": {source: self._intervals(source) for source in self.means},
        }

    def _intervals(self, source: str) -> dict[str, list[float | None]]:
        """Global mean -> the ends of its interval, of the tracks whose sources all sound."""
        kept = [
            result
            for result in self.results
            if not any(score.silent_reference for score in result.scores.values())
        ]
        songs, scores = [result.song for result in kept], [result.scores[source] for result in kept]
        weights = np.array([score.n_samples for score in scores], float)
        found = {}
        for mean, name in {"gnsdr": "nsdr", "gsir": "sir", "gsar": "sar", "si_sdr": "si_sdr"}.items():
            ends = interval(np.array([getattr(score, name) for score in scores]), weights, songs)
            found[mean] = [ends.low, ends.high]
        return found

    def save(self, folder: str | os.PathLike[str], *, about: Mapping[str, str | int] | None = None) -> None:
        """Write tracks/NAME.json for every track, scores.json with the means, and summary.md.

        An infinite score is written as 1e999 or -1e999: JSON has no word for it, but readers of JSON take
        a number too large for a double as the same infinity.

        Args:
            folder: it is made; each file is whole or absent.
            about: what else scores.json should say, such as the model and the dataset.

        Raises:
            OSError: a file cannot be written.
        """
        folder = Path(folder)
        for result in self.results:
            _write(folder / "tracks" / f"{result.name}.json", _json(result.to_museval()))
        _write(folder / "scores.json", _json({**(about or {}), **self.scores()}))
        _write(folder / "summary.md", self.summary() + "\n")


def evaluate(
    separator: SeparatesWaveforms,
    tracks: Sequence[Track],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Separate tracks and score the stems against the true sources.

    Args:
        separator: what is scored.
        tracks: as `load_tracks` gives them.
        jobs: tracks in work at a time, by default one per core.
        progress: called with the number of tracks done and of all tracks.

    Returns:
        The report.

    Raises:
        DatasetError: a track that cannot be loaded.
        MetricError: there is no track whose sources all sound.

    Examples:
        >>> import duetto, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> for stem in ("vocals", "accompaniment"):
        ...     n_clipped = duetto.save_audio(f"pairs/{stem}/a.wav", rng.uniform(-0.5, 0.5, 16000), 16000)
        >>> tracks = duetto.load_tracks("pairs", "pairs", split="all")
        >>> [track.name for track in tracks]
        ['a']
        >>> report = duetto.evaluate(duetto.Separator("drnn"), tracks)
        >>> report.means["vocals"].n_tracks
        1
    """
    return evaluate_tracks(partial(_separate_blindly, separator), tracks, jobs=jobs, progress=progress)


def _separate_blindly(separator: SeparatesWaveforms, audio: TrackAudio) -> Stems:
    return separator.separate(audio.mixture, audio.sample_rate)


def find_contender(
    model: str | os.PathLike[str], *, n_passes: int | None = None
) -> tuple[str, Callable[[TrackAudio], Stems]]:
    """Find what is to be scored: an oracle by its name, or whatever a Separator is made of.

    Args:
        model: its name or the path of a bundle.
        n_passes: as for `Separator`; an oracle takes none.

    Returns:
        Its name, and what `evaluate_tracks` takes.

    Raises:
        ConfigError: a number of passes that it cannot take.
        ModelError: no such model, or a damaged bundle.
    """
    if oracle := ORACLES.get(str(model)):
        if n_passes is not None:
            raise ConfigError(f"n_passes={n_passes}: {oracle.name} looks at the true parts; leave it out")
        return oracle.name, oracle.separate_track
    separator = Separator(model, n_passes=n_passes)
    return separator.metadata.name, partial(_separate_blindly, separator)


def evaluate_tracks(
    separate: Callable[[TrackAudio], Stems],
    tracks: Sequence[Track],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Score what may look at a track's true sources, as an oracle does. See `evaluate`.

    Args:
        separate: a track's audio to its stems.
        tracks: as `load_tracks` gives them.
        jobs: tracks in work at a time, by default one per core.
        progress: called with the number of tracks done and of all tracks.
    """

    def score(track: Track) -> TrackResult:
        audio = track.load()
        stems = separate(audio)
        scores = score_track(audio.mixture, audio.sources, stems)
        return TrackResult(track.name, track.song, audio.mixture.shape[-1] / audio.sample_rate, scores)

    results: list[TrackResult] = []
    # one thread of linear algebra per track: more of them wait for one another, many times as long
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(jobs or os.cpu_count()) as threads:
        for result in threads.map(score, tracks):
            results.append(result)
            if progress:
                progress(len(results), len(tracks))
    return Report(results, global_means([result.scores for result in results]))


def _json(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, indent=1)
    return text.replace('": Infinity', '": 1e999').replace('": -Infinity', '": -1e999')


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
