"""Writes docs/models.md from what the bundles that ship say of themselves.

Usage: python scripts/model_cards.py
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from duetto.models.onnx_model import Bundle, BundleMetadata, list_bundles

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
CHANNELS = {1: "the middle", 2: "the middle and the side"}
KEPT = {"best": "best on the dev tracks", "last": "last"}
HEAD = """# Models

This page is written by `python scripts/model_cards.py` from the bundles' own metadata, which
`duetto models NAME --json` prints whole.
"""


def page() -> str:
    return "\n".join([HEAD, *(card(Bundle(path)) for path in list_bundles().values())])


def card(bundle: Bundle) -> str:
    metadata = bundle.metadata
    seconds = metadata.look_ahead * metadata.hop_length / metadata.sample_rate
    channels = CHANNELS[metadata.n_channels]
    sees = "magnitudes" if metadata.input == "magnitude" else f"complex spectrograms of {channels}"
    rows = {
        "for": metadata.recipe.get("use", "not said"),
        "network": metadata.summary,
        "weights": f"{metadata.n_parameters:,} in {bundle.n_bytes / 1e6:.1f} MB",
        "transform": f"{metadata.n_fft} points every {metadata.hop_length}, {metadata.window} window, "
        f"at {metadata.sample_rate} Hz; scaled to the song's sample rate",
        "sees": sees,
        "look-ahead": f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s",
        **({"hears a song": f"{metadata.n_passes} times, at other speeds"} if metadata.n_passes > 1 else {}),
        "trained on": metadata.training_data,
        "trained with": training(metadata),
        "licence": metadata.licence,
        "known failures": metadata.recipe.get("failures", "not known"),
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


def training(metadata: BundleMetadata) -> str:
    training = metadata.metrics.get("training", {})
    optimiser = {"adamw": "AdamW", "lbfgs": "L-BFGS", "muon": "Muon and AdamW"}[
        metadata.recipe["optimiser"]["kind"]
    ]
    usual = {"start": "", "precision": "32-true"}
    unusual = {key: value for key, value in metadata.recipe["run"].items() if usual.get(key, value) != value}
    options = "".join(f" --set run.{key}={value}" for key, value in unusual.items())
    text = f"`duetto train {metadata.recipe['name']} --data FOLDER{options}`, {optimiser}"
    if training:
        text += (
            f", {training['step']} steps in {training['seconds'] / 60:.0f} minutes; the weights of step "
            f"{training['best_step']}, the {KEPT[metadata.recipe['run'].get('keep', 'best')]}"
        )
    if "mean_with" in training:
        text += f", averaged with those of `{training['mean_with']}`"
    if "start" in unusual:
        text += "; [where the start came from](experiments.md#to-train-the-bundles-again)"
    return text


def scores(metadata: BundleMetadata) -> list[str]:
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


def held_out(metadata: BundleMetadata) -> list[str]:
    groups, levels = metadata.metrics["held_out"], metadata.metrics["levels_db"]
    protocol = next(iter(groups.values()))
    band = " --band FOLDER" if any("band" in name for name in groups) else ""
    return [
        f"Scores in dB on singers and music that it never heard ({protocol['protocol']}; "
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
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
