"""Writes docs/models.md from what the bundles that ship say of themselves.

Usage: python scripts/model_cards.py
"""

from pathlib import Path

from duetto.bundle import Bundle, BundleMetadata, list_bundles

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
HEAD = """# Models

This page is written by `python scripts/model_cards.py` from the bundles' own metadata, which
`duetto models NAME --json` prints whole.
"""


def page() -> str:
    return "\n".join([HEAD, *(card(Bundle(path)) for path in list_bundles().values())])


def card(bundle: Bundle) -> str:
    metadata = bundle.metadata
    milliseconds = 1000 * metadata.look_ahead * metadata.hop_length / metadata.sample_rate
    rows = {
        "network": metadata.summary,
        "weights": f"{metadata.n_parameters:,} in {bundle.n_bytes / 1e6:.1f} MB",
        "transform": f"{metadata.n_fft} points every {metadata.hop_length}, {metadata.window} window, "
        f"at {metadata.sample_rate} Hz; scaled to the song's sample rate",
        "look-ahead": f"{milliseconds:.0f} ms" if metadata.causal else "the whole song",
        "trained on": metadata.training_data,
        "trained with": training(metadata),
        "licence": metadata.licence,
    }
    lines = [f"## {metadata.name}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    if metadata.metrics:
        lines += ["", *scores(metadata)]
    return "\n".join([*lines, ""])


def training(metadata: BundleMetadata) -> str:
    training = metadata.metrics.get("training", {})
    optimiser = {"adamw": "AdamW", "lbfgs": "L-BFGS"}[metadata.recipe["optimiser"]["kind"]]
    text = f"`duetto train {metadata.recipe['name']}`, {optimiser}"
    if training:
        text += (
            f", {training['step']} steps in {training['seconds'] / 60:.0f} minutes; the weights of step "
            f"{training['best_step']}, the best on the dev split"
        )
    return text


def scores(metadata: BundleMetadata) -> list[str]:
    metrics = metadata.metrics
    n_tracks = next(iter(metrics["means"].values()))["n_tracks"]
    lines = [
        f"Scores in dB on {n_tracks} tracks ({metrics['dataset']} {metrics['split']}; {metrics['protocol']}; "
        f"{metrics['aggregation']}), as printed by",
        "",
        f"    duetto evaluate {metrics['dataset']} --data FOLDER --model {metadata.name}",
        "",
        "| source | GNSDR | GSIR | GSAR | SI-SDR |",
        "|---|---|---|---|---|",
    ]
    for source, means in metrics["means"].items():
        cells = " | ".join(f"{means[key]:.2f}" for key in ("gnsdr", "gsir", "gsar", "si_sdr"))
        lines.append(f"| {source} | {cells} |")
    return lines


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
