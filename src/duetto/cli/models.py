"""The command `models`."""

from typing import TYPE_CHECKING

import click

from duetto.cli.options import Command

if TYPE_CHECKING:
    from duetto.models.metadata import ModelMetadata


@click.command(cls=Command)
@click.argument("names", nargs=-1)
@click.option("--verify", is_flag=True, help="Run each network on a known input and check its output.")
@click.option("--json", "as_json", is_flag=True, help="Print all metadata of the models as JSON.")
def models(names: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the models, or describe some in detail.

    NAMES are models, conventional methods or paths of model files; without any, all models and methods that
    come with Duetto are listed. The licence is that of the weights.
    """
    from duetto.models.onnx_model import OnnxModel
    from duetto.models.registry import list_models, open_model

    found = [open_model(name)[0] for name in names or list_models()]
    networks = [model for model in found if isinstance(model, OnnxModel)]
    methods = [model.metadata for model in found if not isinstance(model, OnnxModel)]
    if verify:
        for network in networks:
            network.verify()
    if as_json:
        click.echo(f"[{', '.join(model.metadata.to_json() for model in found)}]")
        return
    for network in networks:
        metadata = network.metadata
        size = f"{network.n_bytes / 1e6:.1f} MB, {metadata.sample_rate} Hz"
        click.echo(f"{metadata.name}: {metadata.summary} ({size}; licence: {metadata.licence})")
        if names:
            click.echo(_card(metadata))
        if verify:
            click.echo("  verified: the network gives the output recorded at export")
    for method in methods:
        click.echo(f"{method.name}: {method.summary} ({method.paper})")


def _card(metadata: "ModelMetadata") -> str:
    lines = [
        f"  trained on: {metadata.training_data}",
        f"  parameters: {metadata.n_parameters}, look-ahead: {metadata.look_ahead} frames",
    ]
    for source, means in metadata.metrics.get("means", {}).items():
        figures = ", ".join(f"{key.upper()} {means[key]:.2f}" for key in ("gnsdr", "gsir", "gsar"))
        lines.append(f"  {source}: {figures} dB ({metadata.metrics['protocol']})")
    return "\n".join(lines)
