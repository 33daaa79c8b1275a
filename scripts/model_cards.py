"""Writes the page of the models and the licence of their weights from the metadata of the models that ship.

Usage: python scripts/model_cards.py

It writes docs/reference/models.md and src/duetto/models/weights/LICENSE.md. What a model is for and its known
failures come from its recipe; the figures of the table that compares the models stand in
docs/reference/validation-mixtures.json beside the command that printed them.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from duetto.models.metadata import ModelMetadata
from duetto.models.onnx_model import OnnxModel
from duetto.models.registry import model_files
from duetto.training.config_io import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "models.md"
MIXTURES = PAGE.with_name("validation-mixtures.json")
SOURCES = ROOT / "scripts" / "training_sources.toml"
LICENCES = ROOT / "src" / "duetto" / "models" / "weights" / "LICENSE.md"
CHANNELS = {1: "the mid channel", 2: "the mid and the side channel"}
SELECTED = {"best": "best by validation score", "last": "last"}
HEAD = """# Models

This page is written by `python scripts/model_cards.py` from the metadata of the model files, which `duetto models NAME --json` prints in full.
The licences of the weights, with the licence of each training set, are in `src/duetto/models/weights/LICENSE.md`.

## Which model

- `duetto`, the default: released songs, in stereo or mono.
- `mir1k`: a lead voice over karaoke music in mono, and comparison with the papers' tables. Five passes, so five times as slow.
- `drnn`: real time with `duetto stream`, and the network of Huang et al. (2014).
"""
VALIDATION = """## Validation mixtures

Vocals SI-SDR in dB on mixtures of singers and music that are in no training set of the three models, mixed at equal energy.
Checkpoints of `duetto` were chosen by these mixtures, so for `duetto` they are a validation set, not a test set.
"""
AFTER = """`mir1k` is better on most plain mono mixtures, although its training set has two singers and karaoke music only; it averages five passes.
`duetto` is better on produced songs, on electronic music, on pitch-corrected vocals, on quiet songs, and where there is music or a voice alone.
"""
LICENCE_HEAD = """# Licences of the model files

The code of Duetto is under the MIT licence.
The weights in this folder have licences of their own, because these depend on the data that trained them.
This file is written by `python scripts/model_cards.py` from the metadata of the models.

"""
LICENCE_TAIL = """
## What the licences mean

- **CC BY-NC-SA 4.0**: you may use, share and change the weights for non-commercial purposes, with credit, under the same licence. A model
  that is trained from such weights is under the same licence. The text is at <https://creativecommons.org/licenses/by-nc-sa/4.0/>.
- **MIT**: you may use, share and change the weights for any purpose with the copyright notice. The training set MIR-1K was
  published for research, so ask its authors before a commercial use.

## Licences of the training sets

| training set | licence | source |
|---|---|---|
| MIR-1K | for research | Hsu and Jang, IEEE TASLP 18(2), 2010 |
| GTSinger | CC BY-NC-SA 4.0 | GTSinger/GTSinger.github.io |
| M4Singer | CC BY-NC-SA 4.0 | M4Singer/M4Singer.github.io |
| PJS | CC BY-SA 4.0 | justln1113/TEST |
| beatgame | CC BY-SA 3.0, GPL or free, per track | bydariogamer/beatgame |
| opendungeons | CC BY-SA 3.0 | OpenDungeons/OpenDungeons |
| opensurge | CC BY or CC BY-SA, per track | alemart/opensurge |
| tuxemon | CC0, CC BY or CC BY-SA, per track | Tuxemon/Tuxemon |
| unknown-horizons | CC BY-SA 3.0 | unknown-horizons/unknown-horizons |
| valyriatear | CC BY 3.0, CC BY-SA 3.0 or CC0, per track | ValyriaTear/ValyriaTear |
| rendered songs | MIT (the sound fonts FluidR3 and MuseScore General) | `scripts/render_band.py` |
| two songs of MT5 | not stated | squallooo/MT5 |
@@GATHERED@@

The dictionaries of the method `mlrr` (`baselines/mlrr.npz`) are under the MIT licence; they were learned from MIR-1K.
"""


def page() -> str:
    models = [OnnxModel(path) for path in model_files().values()]
    return "\n".join(
        [HEAD, *overview(models), VALIDATION, *mixtures(), AFTER, *(card(model) for model in models)]
    )


def licences() -> str:
    """The text of weights/LICENSE.md."""
    lines = ["| file | licence | trained on |", "|---|---|---|"]
    for path in model_files().values():
        metadata = OnnxModel(path).metadata
        lines.append(f"| `{path.name}` | {metadata.licence} | {metadata.training_data} |")
    return LICENCE_HEAD + "\n".join(lines) + "\n" + LICENCE_TAIL.replace("@@GATHERED@@", gathered())


def gathered() -> str:
    """Rows of the sources that scripts/gather_training_data.py gathers."""
    table = tomllib.loads(SOURCES.read_text(encoding="utf-8"))
    rows = []
    for kind, sources in table.items():
        for name, source in sources.items():
            origin = source.get("repository") or f"Debian {source['package']}"
            rows.append(f"| {name} ({kind}) | {source.get('licence', 'not stated')} | {origin} |")
    return "\n".join(rows)


def overview(models: list[OnnxModel]) -> list[str]:
    lines = [
        "| model | weights | file | look-ahead | passes | licence of the weights |",
        "|---|---|---|---|---|---|",
    ]
    for model in models:
        metadata = model.metadata
        lines.append(
            f"| [`{metadata.name}`](#{metadata.name}) | {metadata.n_parameters:,} | {model.n_bytes / 1e6:.1f} MB | "
            f"{look_ahead(metadata)} | {metadata.n_passes} | {metadata.licence} |"
        )
    return [*lines, ""]


def mixtures() -> list[str]:
    """The table of docs/reference/validation-mixtures.json, under its commands."""
    table = json.loads(MIXTURES.read_text(encoding="utf-8"))
    lines = [*(f"    {command}" for command in table["commands"]), ""]
    lines += [f"| | {' | '.join(table['columns'])} |", "|---" * (len(table["columns"]) + 1) + "|"]
    for name, figures in table["rows"].items():
        lines.append(f"| {name} | {' | '.join('' if value is None else str(value) for value in figures)} |")
    return [*lines, ""]


def look_ahead(metadata: ModelMetadata) -> str:
    seconds = metadata.look_ahead * metadata.hop_length / metadata.sample_rate
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def card(onnx_model: OnnxModel) -> str:
    metadata = onnx_model.metadata
    channels = CHANNELS[metadata.n_channels]
    network_input = (
        "magnitude spectrogram" if metadata.input == "magnitude" else f"complex spectrogram of {channels}"
    )
    recipe = load_config(metadata.recipe["name"])
    rows = {
        "for": recipe.use,
        "network": metadata.summary,
        "weights": f"{metadata.n_parameters:,} in {onnx_model.n_bytes / 1e6:.1f} MB",
        "STFT": f"n_fft {metadata.n_fft}, hop_length {metadata.hop_length}, {metadata.window} window, "
        f"at {metadata.sample_rate} Hz; scaled to the sample rate of the song",
        "input": network_input,
        "look-ahead": look_ahead(metadata),
        **({"passes": f"{metadata.n_passes}, at other speeds"} if metadata.n_passes > 1 else {}),
        "trained on": metadata.training_data,
        "training command": training(metadata),
        "licence": metadata.licence,
        "known failures": recipe.failures,
    }
    if speed := metadata.metrics.get("speed"):
        rows["speed"] = speed
    lines = [f"## {metadata.name}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    if "means" in metadata.metrics:
        lines += ["", *scores(metadata)]
    if "held_out" in metadata.metrics:
        lines += ["", *held_out(metadata)]
    return "\n".join([*lines, ""])


def training(metadata: ModelMetadata) -> str:
    training = metadata.metrics.get("training", {})
    optimiser = {"adamw": "AdamW", "lbfgs": "L-BFGS", "muon": "Muon and AdamW"}[
        metadata.recipe["optimiser"]["kind"]
    ]
    run = metadata.recipe["run"]
    usual = {"init_from": "", "precision": "32-true"}
    unusual = {key: value for key, value in run.items() if usual.get(key, value) != value}
    options = "".join(f" --set run.{key}={value}" for key, value in unusual.items())
    text = f"`duetto train {metadata.recipe['name']} --data FOLDER{options}`, {optimiser}"
    if training:
        text += (
            f", {training['step']} steps in {training['seconds'] / 60:.0f} minutes; the weights of step "
            f"{training['best_step']}, the {SELECTED[run['checkpoint_selection']]}"
        )
    if "mean_with" in training:
        text += f", averaged with those of `{training['mean_with']}`"
    if "init_from" in unusual:
        text += "; initialised as the [training commands](../research/lab-notes/training-commands.md) say"
    return text


def scores(metadata: ModelMetadata) -> list[str]:
    metrics = metadata.metrics
    n_tracks = next(iter(metrics["means"].values()))["n_tracks"]
    return [
        f"Scores in dB on {n_tracks} tracks ({metrics['dataset']} {metrics['split']}; {metrics['protocol']}; "
        f"{metrics['aggregation']}; intervals: {metrics['interval']}), as written by",
        "",
        f"    duetto evaluate {metrics['dataset']} --data FOLDER --model {metadata.name}",
        "",
        *table({f"{metrics['dataset']} {metrics['split']}": metrics}),
    ]


def held_out(metadata: ModelMetadata) -> list[str]:
    groups, levels = metadata.metrics["held_out"], metadata.metrics["levels_db"]
    protocol = next(iter(groups.values()))
    band = " --band FOLDER" if any("band" in name for name in groups) else ""
    return [
        f"Validation scores in dB on singers and music that are not in the training set ({protocol['protocol']}; "
        f"{protocol['aggregation']}; intervals: {protocol['interval']}), as printed by",
        "",
        f"    python scripts/held_out.py ../shared/data{band} --model {metadata.name}",
        "",
        *table(groups),
        "",
        "; ".join(f"{name}: {level:.1f} dB against the input" for name, level in levels.items()) + ".",
    ]


def table(groups: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| material | source | GNSDR | GSIR | GSAR | SI-SDR | tracks |", "|---|---|---|---|---|---|---|"]
    for name, metrics in groups.items():
        for source, means in sorted(metrics["means"].items(), reverse=True):
            ends = metrics["intervals"][source]
            cells = " | ".join(cell(means[key], *ends[key]) for key in ("gnsdr", "gsir", "gsar", "si_sdr"))
            lines.append(f"| {name} | {source} | {cells} | {means['n_tracks']} |")
    return lines


def cell(mean: float, low: float | None, high: float | None) -> str:
    return f"{mean:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None else "")


def main() -> None:
    for path, text in ((PAGE, page()), (LICENCES, licences())):
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
