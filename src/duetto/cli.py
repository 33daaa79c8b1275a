"""The command line: arguments and printing, nothing else. Rooms are imported when a command needs them."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from duetto import __version__
from duetto._terminal import complain, print_path, progress_bar
from duetto.errors import ConfigError, DuettoError

if TYPE_CHECKING:
    from duetto.bundle import BundleMetadata
    from duetto.separator import Separator
    from duetto.train.checkpoint import Progress

EXAMPLE = Path(__file__).parent / "example" / "song.flac"
EXTRAS = {"matplotlib": "eval", "scipy": "eval"} | dict.fromkeys(
    ("lightning_fabric", "onnx", "pydantic", "safetensors", "tensorboard", "torch"), "train"
)
PATH = click.Path(path_type=Path)
MODEL_OPTION = click.option(
    "-n",
    "--model",
    default="drnn",
    show_default=True,
    metavar="MODEL",
    help="Which network: a name that `duetto models` lists, or the path of an .onnx bundle.",
)
DATA_OPTION = click.option("--data", required=True, type=PATH, help="Folder that holds the dataset.")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(arguments, prog_name="duetto", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "duetto"
        complain(f"{error.format_message()} ({command} --help explains)")
        sys.exit(2)
    except click.Abort as error:
        terminated = isinstance(error.__cause__, _Terminated)
        complain("terminated" if terminated else "interrupted")
        sys.exit(143 if terminated else 130)
    except (DuettoError, OSError) as error:
        complain(error)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        complain(
            f"this needs {error.name}, which is not installed; run pip install 'duetto[{EXTRAS[error.name]}]'"
        )
        sys.exit(1)
    sys.exit(0)


class _InOrder(click.Group):
    """Lists its commands as they are written here, the one for everybody first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="duetto")
@click.pass_context
def cli(context: click.Context) -> None:
    """Take songs apart into voice and music.

    To make two files of a song, one with the singer and one with the band:

        duetto separate song.flac

    They appear in the folder "separated". Every command explains itself with --help.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("songs", nargs=-1, type=PATH)
@click.option("--example", is_flag=True, help="Separate the little song that comes with Duetto.")
@MODEL_OPTION
@click.option(
    "-o",
    "--out",
    type=PATH,
    default=Path("separated"),
    show_default=True,
    help="Folder for the stems.",
)
@click.option(
    "--template",
    default="{model}/{track}/{stem}.{ext}",
    show_default=True,
    help="Path of a stem below that folder.",
)
@click.option("--flac", "container", flag_value="FLAC", help="Write FLAC files (smaller, nothing lost).")
@click.option("--mp3", "container", flag_value="MP3", help="Write MP3 files (smallest).")
@click.option("--wav", "container", flag_value="WAV", help="Write WAV files.")
@click.option("--int24", "subtype", flag_value="PCM_24", help="Write 24 bits per sample.")
@click.option("--float32", "subtype", flag_value="FLOAT", help="Write 32-bit floating-point samples.")
@click.option(
    "--mask",
    type=click.Choice(["ratio", "binary"]),
    default="ratio",
    show_default=True,
    help="Share every frequency softly, or give it to the louder one.",
)
@click.option(
    "--griffin-lim",
    "rounds",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="ROUNDS",
    help="Let the vocals find a phase of their own in so many rounds; 0 keeps the song's.",
)
def separate(songs: tuple[Path, ...], example: bool, out: Path, **options: Any) -> None:
    """Make two files of each song: vocals and accompaniment.

    They have the song's length, sample rate, channels and bits; played together they are the song again.
    The paths of the new files are printed.
    """
    from duetto.separator import Separator

    songs += (EXAMPLE,) * example
    if not songs:
        raise click.UsageError("Name at least one song, or try --example.")
    separator = Separator(options["model"], mask=options["mask"], griffin_lim_rounds=options["rounds"])
    _refuse_shared_stems(separator, songs, out, options["template"])
    failed = 0
    for song in songs:
        try:
            with progress_bar(song.name) as bar:
                done = separator.separate_file(
                    song,
                    out,
                    template=options["template"],
                    container=options["container"],
                    subtype=options["subtype"],
                    progress=bar,
                )
        except (DuettoError, OSError) as error:
            complain(error)
            failed += 1
            continue
        for path in done.paths.values():
            print_path(path)
        if done.n_clipped:
            complain(f"{song}: {done.n_clipped} samples were too loud and clipped; --float32 keeps them")
    if failed:
        if len(songs) > 1:
            complain(f"{failed} of {len(songs)} songs failed")
        sys.exit(1)


def _refuse_shared_stems(separator: "Separator", songs: Sequence[Path], out: Path, template: str) -> None:
    taken: dict[Path, Path] = {}
    for song in songs:
        paths = separator.stem_paths(song, out, template=template, container="")
        for path in paths.values():
            if path in taken:
                raise ConfigError(
                    f"{taken[path]} and {song} would have the same stems; separate them into different "
                    "folders with --out"
                )
        taken |= dict.fromkeys(paths.values(), song)


@cli.command()
@click.argument("recipe", default="drnn")
@DATA_OPTION
@click.option("-o", "--out", type=PATH, help="Folder of the run.  [default: runs/RECIPE]")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe."
)
@click.option("--resume", is_flag=True, help="Go on with the run in that folder.")
@click.option("--accelerator", default="auto", show_default=True, help='"cpu", "cuda", "mps" or "auto".')
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes per machine.",
)
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Machines.")
def train(recipe: str, data: Path, out: Path | None, overrides: tuple[str, ...], **options: Any) -> None:
    """Train a network on songs whose true parts are known.

    RECIPE is the name of one that ships, or a .toml file. Watch the run with: tensorboard --logdir runs
    """
    from duetto.train.config import load_config
    from duetto.train.loop import train as run

    config = load_config(recipe, overrides)
    folder = out or Path("runs") / Path(recipe).stem
    first = _is_first_process()
    shown: dict[str, float] = {}
    with progress_bar(config.name, hidden=not first) as bar:

        def on_step(progress: "Progress", values: dict[str, float]) -> None:
            shown.update(values)
            bar(progress.step, config.run.n_steps, _note(shown))

        try:
            progress = run(config, data, folder, on_step=on_step, **options)
        except DuettoError:
            if not first:  # the first process fails alike and says why
                sys.exit(1)
            raise
    if first:
        click.echo(
            f"{folder}: best dev GNSDR {progress.best_gnsdr:.2f} dB at step {progress.best_step} "
            f"of {progress.step}, {progress.seconds / 60:.1f} minutes"
        )


@cli.command()
@click.argument("dataset")
@DATA_OPTION
@MODEL_OPTION
@click.option("--split", default="test", show_default=True, help='"train", "dev", "test" or "all".')
@click.option(
    "-o",
    "--out",
    type=PATH,
    help="Folder for the scores.  [default: scores/MODEL-DATASET-SPLIT]",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tracks in work at a time.  [default: one per core]",
)
def evaluate(dataset: str, data: Path, model: str, split: str, out: Path | None, jobs: int | None) -> None:
    """Score a model on songs whose true parts are known.

    DATASET is mir1k, ikala, musdb, dsd100 or pairs. Prints a table of GNSDR, GSIR, GSAR and SI-SDR in
    decibels, the higher the better, and writes the scores of every track as JSON.
    """
    from duetto.datasets import load_tracks
    from duetto.evaluation import evaluate as score
    from duetto.separator import Separator

    separator = Separator(model)
    tracks = load_tracks(dataset, data, split=split)
    folder = out or Path("scores") / f"{separator.metadata.name}-{dataset}-{split}"
    with progress_bar(f"{dataset} {split}") as bar:
        report = score(separator, tracks, jobs=jobs, progress=bar)
    report.save(folder, about={"model": separator.metadata.name, "dataset": dataset, "split": split})
    click.echo(report.summary())
    complain(f"the scores of every track are in {folder}")


@cli.command()
@click.argument("run", type=PATH)
@click.option(
    "-o",
    "--out",
    type=PATH,
    help="The bundle.  [default: NAME.onnx beside the run's files]",
)
@click.option("--float32", is_flag=True, help="Keep the weights' 32 bits; the file is twice as large.")
@click.option(
    "--metrics",
    type=PATH,
    help="scores.json of `duetto evaluate`, to go into the bundle.",
)
def export(run: Path, out: Path | None, float32: bool, metrics: Path | None) -> None:
    """Make a model file of a training run.

    RUN is the folder that `duetto train` wrote. Its best weights become a bundle (.onnx), which
    `duetto separate --model` takes.
    """
    from duetto.train.export import export_run

    print_path(export_run(run, out, half=not float32, metrics=metrics).path)


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--verify", is_flag=True, help="Run each network on a known input and check its answer.")
@click.option("--json", "as_json", is_flag=True, help="Print all that the bundles say of themselves.")
def models(names: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the models, or describe some.

    NAMES are models that ship or paths of bundles; without any, those that ship are listed.
    """
    from duetto.bundle import Bundle, find_bundle, list_bundles

    bundles = [Bundle(find_bundle(name)) for name in names or list_bundles()]
    if verify:
        for bundle in bundles:
            bundle.verify()
    if as_json:
        click.echo(f"[{', '.join(bundle.metadata.to_json() for bundle in bundles)}]")
        return
    for bundle in bundles:
        metadata = bundle.metadata
        size = f"{bundle.n_bytes / 1e6:.1f} MB"
        click.echo(f"{metadata.name}: {metadata.summary} ({size}, {metadata.sample_rate} Hz)")
        if names:
            click.echo(_card(metadata))
        if verify:
            click.echo("  verified: the network gives the answer recorded at export")


def _card(metadata: "BundleMetadata") -> str:
    lines = [
        f"  trained on: {metadata.training_data}",
        f"  licence: {metadata.licence}",
        f"  weights: {metadata.n_parameters}, look-ahead: {metadata.look_ahead} frames",
    ]
    for source, means in metadata.metrics.get("means", {}).items():
        figures = ", ".join(f"{key.upper()} {means[key]:.2f}" for key in ("gnsdr", "gsir", "gsar"))
        lines.append(f"  {source}: {figures} dB ({metadata.metrics['protocol']})")
    return "\n".join(lines)


@cli.command()
@click.argument("song", type=PATH)
@MODEL_OPTION
@click.option("-o", "--out", type=PATH, help="The picture.  [default: SONG.png in this folder]")
@click.option(
    "--max-frequency",
    type=click.FloatRange(min=0, min_open=True),
    default=8000,
    show_default=True,
    metavar="HERTZ",
    help="Top of the picture.",
)
def plot(song: Path, model: str, out: Path | None, max_frequency: float) -> None:
    """Draw a song, its vocals and its accompaniment.

    The picture shows three spectrograms: time from left to right, pitch from low to high, the louder the
    brighter.
    """
    from duetto.audio import load_audio
    from duetto.plots import plot_spectrograms
    from duetto.separator import Separator

    separator = Separator(model)
    audio, sample_rate = load_audio(song)
    with progress_bar(song.name) as bar:
        stems = separator.separate(audio, sample_rate, progress=bar)
    waveforms = {"mixture": audio, **stems}
    target = out or Path(f"{song.stem}.png")
    print_path(plot_spectrograms(waveforms, sample_rate, target, max_frequency=max_frequency))


def _note(values: dict[str, float]) -> str:
    score = values.get("dev/vocals/GNSDR")
    return f"loss {values['loss']:.4g}" + (f", dev GNSDR {score:.2f} dB" if score is not None else "")


def _is_first_process() -> bool:
    """Whether no launcher (Fabric's own, torchrun, Slurm) says that this is another than the first."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return not any(int(os.environ.get(name, "0")) for name in ranks)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, taking the way out of Ctrl-C: through every context manager, so no partial file stays."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated
