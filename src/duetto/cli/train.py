"""The command `train`."""

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetto.cli.console import complain, progress_bar
from duetto.cli.options import DATA_OPTION, Command, output_option, settings_option
from duetto.errors import DuettoError

if TYPE_CHECKING:
    from duetto.training.checkpoint import RunProgress


def _name_recipes(context: click.Context, _: click.Parameter, recipe: str | None) -> str:
    """Without a recipe, list those that come with Duetto."""
    if recipe or context.resilient_parsing:
        return recipe or ""
    from duetto.training.config_io import load_config, recipe_names

    names = recipe_names()
    width = max(map(len, names))
    for name in sorted(names, key=lambda name: ("/" in name, name)):
        click.echo(f"{name:{width}}  {load_config(name).summary}")
    raise click.UsageError("Name one of these recipes, or the path of a .toml file.", context)


@click.command(cls=Command)
@click.argument("recipe", required=False, is_eager=True, callback=_name_recipes)
@DATA_OPTION
@output_option("runs/RECIPE", "Folder of the run.")
@settings_option("the recipe")
@click.option("--resume", is_flag=True, help="Continue the run in this folder from its newest checkpoint.")
@click.option("--accelerator", default="auto", help='"cpu", "cuda", "mps" or "auto".')
@click.option(
    "--devices", type=click.IntRange(min=1), metavar="N", default=1, help="Number of processes per machine."
)
@click.option("--nodes", type=click.IntRange(min=1), metavar="N", default=1, help="Number of machines.")
def train(recipe: str, data: Path, output: Path | None, overrides: tuple[str, ...], **options: Any) -> None:
    """Train a network on songs whose stems are known.

    RECIPE is the name of a recipe that comes with Duetto (`duetto train` alone lists them) or the path of a
    .toml file. Watch the run with: tensorboard --logdir runs
    """
    from duetto.training.config_io import load_config
    from duetto.training.trainer import train as run

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # each process would introduce itself
    config = load_config(recipe, overrides)
    folder = output or Path("runs") / Path(recipe).stem
    first = _is_first_process()
    shown: dict[str, float] = {}
    with progress_bar(config.name, hidden=not first) as bar:

        def on_step(progress: "RunProgress", values: dict[str, float]) -> None:
            shown.update(values)
            bar(progress.step, config.run.n_steps, _note(shown))

        try:
            progress = run(config, data, folder, on_step=on_step, **options)
        except DuettoError:
            if not first:  # the first process fails alike and says why
                sys.exit(1)
            raise
    if first:
        before = "" if progress.initial_gnsdr is None else f", {progress.initial_gnsdr:.2f} dB at step 0"
        click.echo(
            f"{folder}: best validation GNSDR {progress.best_gnsdr:.2f} dB at step {progress.best_step} "
            f"of {progress.step}{before}, {progress.seconds / 60:.1f} minutes"
        )
        complain(f"make its model file with: duetto export {shlex.quote(str(folder))}")


def _note(values: dict[str, float]) -> str:
    score = values.get("validation/vocals/GNSDR")
    loss = f"loss {values['loss']:.4g}"
    return loss if score is None else f"{loss}, validation GNSDR {score:.2f} dB"


def _is_first_process() -> bool:
    """Whether no launcher (Fabric's own, torchrun, Slurm) says that this is another than the first."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return not any(int(os.environ.get(name, "0")) for name in ranks)
