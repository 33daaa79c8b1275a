"""The pictures beside a table."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duetto.evaluation.plots import Curve, plot_learning_curves, plot_spectrograms, plot_spread
from duetto.separation.separator import Separator
from duetto.training.reproduce.runs import Laboratory, Result, bundle, vocals_gnsdr
from duetto.training.run_log import LOG


def draw(lab: Laboratory, results: Mapping[str, Result]) -> None:
    """Draw the spread by singer, the learning curves, and a clip with its stems beside the truth.

    The clip is the one of median NSDR under the best network.

    Raises:
        OSError: a picture cannot be written.
    """
    networks = [result for result in results.values() if result.row.kind == "network"]
    singers = {track.name: track.singer or "all" for track in lab.tracks}
    if results:
        spread = {result.row.label: _by_singer(result, singers) for result in results.values()}
        plot_spread(spread, lab.out / "singers.png", label="NSDR of the vocals, dB")
    if networks:
        curves = {result.row.label: _curves(lab.out / result.row.name / LOG) for result in networks}
        plot_learning_curves(curves, lab.out / "learning.png", label="% of the run's steps")
        _draw_clip(lab, max(networks, key=vocals_gnsdr))


def _by_singer(result: Result, singers: Mapping[str, str]) -> dict[str, list[float]]:
    by_singer: dict[str, list[float]] = {}
    for name, (nsdr, *_) in zip(result.scores.names, result.scores.scores["vocals"], strict=True):
        by_singer.setdefault(singers[name], []).append(float(nsdr))
    return by_singer


def _curves(log: Path) -> tuple[Curve, Curve]:
    """Loss and dev GNSDR of a run, each over the per cent of its steps: those of L-BFGS are few and large."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    per_cent = 100 / lines[-1]["step"]

    def curve(key: str) -> Curve:
        said = [line for line in lines if key in line]
        return [per_cent * line["step"] for line in said], [line[key] for line in said]

    return curve("loss"), curve("dev/vocals/GNSDR")


def _draw_clip(lab: Laboratory, result: Result) -> None:
    order = np.argsort(result.scores.scores["vocals"][:, 0], kind="stable")
    name = result.scores.names[order[len(order) // 2]]
    (track,) = (track for track in lab.tracks if track.name == name)
    audio = track.load()
    stems = Separator(bundle(lab.out / result.row.name)).separate(audio.mixture, audio.sample_rate)
    waveforms = {f"{name}, mixture": audio.mixture}
    for source, truth in audio.sources.items():
        waveforms |= {f"{source}, true": truth, f"{source}, estimated by {result.row.label}": stems[source]}
    plot_spectrograms(waveforms, audio.sample_rate, lab.out / "spectrograms.png")
