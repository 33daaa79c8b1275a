"""The figures that accompany a table."""

import json
from collections.abc import Mapping
from pathlib import Path

from duetto.evaluation.plots import Curve, plot_learning_curves, plot_spectrograms, plot_spread
from duetto.separation.separator import Separator
from duetto.training.reproduce.runs import PaperRun, Result, model_file
from duetto.training.run_log import LOG


def draw(paper_run: PaperRun, results: Mapping[str, Result]) -> None:
    """Plot the spread of scores by singer, the learning curves, and a clip with its references and stems.

    The clip is that of median NSDR with the best network whose model file is there.

    Raises:
        OSError: a figure cannot be written.
    """
    networks = [result for result in results.values() if result.row.kind == "network"]
    singers = {track.name: track.singer or "all" for track in paper_run.tracks}
    if results:
        spread = {result.row.label: _by_singer(result, singers) for result in results.values()}
        plot_spread(spread, paper_run.out / "singers.png", label="NSDR of the vocals, dB")
    if networks:
        curves = {result.row.label: _curves(paper_run.out / result.row.name / LOG) for result in networks}
        plot_learning_curves(curves, paper_run.out / "learning.png", label="% of the run's steps")
    with_model = [result for result in networks if model_file(paper_run.out / result.row.name).exists()]
    if with_model:
        _draw_clip(paper_run, max(with_model, key=lambda result: result.vocals_gnsdr))


def _by_singer(result: Result, singers: Mapping[str, str]) -> dict[str, list[float]]:
    by_singer: dict[str, list[float]] = {}
    for track in result.reports[0].averaged:
        by_singer.setdefault(singers[track.name], []).append(track.scores["vocals"].nsdr)
    return by_singer


def _curves(log: Path) -> tuple[Curve, Curve]:
    """Loss and validation GNSDR over the percentage of a run's steps: those of L-BFGS are few and large."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    per_cent = 100 / lines[-1]["step"]

    def curve(key: str) -> Curve:
        logged = [line for line in lines if key in line]
        return [per_cent * line["step"] for line in logged], [line[key] for line in logged]

    return curve("loss"), curve("validation/vocals/GNSDR")


def _draw_clip(paper_run: PaperRun, result: Result) -> None:
    ranked = sorted(result.reports[0].averaged, key=lambda track: track.scores["vocals"].nsdr)
    name = ranked[len(ranked) // 2].name
    (track,) = (track for track in paper_run.tracks if track.name == name)
    audio = track.load()
    stems = Separator(model_file(paper_run.out / result.row.name)).separate(audio.mixture, audio.sample_rate)
    waveforms = {f"{name}, mixture": audio.mixture}
    for source, reference in audio.sources.items():
        waveforms |= {
            f"{source}, reference": reference,
            f"{source}, estimated by {result.row.label}": stems[source],
        }
    plot_spectrograms(waveforms, audio.sample_rate, paper_run.out / "spectrograms.png")
