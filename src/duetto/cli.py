"""The command line: arguments and printing, nothing else. Rooms are imported when a command needs them."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click

from duetto import __version__
from duetto.errors import ConfigError, DuettoError

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from duetto.train.checkpoint import Progress

EXAMPLE = Path(__file__).parent / "example" / "song.flac"
MODEL_OPTION = click.option(
    "-n",
    "--model",
    default="drnn",
    show_default=True,
    help="Which network: a name that `duetto models` lists, or the path of an .onnx bundle.",
)
DATA_OPTION = click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Folder that holds the dataset."
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        cli.main(arguments, prog_name="duetto", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except DuettoError as error:
        _complain(error)
        sys.exit(1)
    except ModuleNotFoundError as error:
        _complain(_missing_extra(error))
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our results has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="duetto")
def cli() -> None:
    """Take songs apart into voice and music.

    To make two files of a song, the singer and the band:

        duetto separate song.flac

    They appear in the folder "separated". Every command explains itself with --help.
    """


@cli.command()
@click.argument("songs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--example", is_flag=True, help="Separate the little song that comes with Duetto.")
@MODEL_OPTION
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
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
    help="Find the vocals' own phase in so many rounds, instead of the song's phase.",
)
def separate(songs: tuple[Path, ...], example: bool, out: Path, **options: Any) -> None:
    """Make two files of each song: vocals and accompaniment.

    The files are as long, as wide and as fine as the song: same sample rate, same channels, same bits.
    Played together they are the song again. Paths of the new files are printed.
    """
    from duetto.separator import Separator

    songs += (EXAMPLE,) * example
    if not songs:
        raise click.UsageError("Name at least one song, or try --example.")
    separator = Separator(options["model"], mask=options["mask"], griffin_lim_rounds=options["rounds"])
    targets = [separator.stem_paths(song, out, template=options["template"], container="") for song in songs]
    if len({str(paths) for paths in targets}) < len(songs):
        raise ConfigError("two songs would have the same stems; name one of them anew or separate them apart")
    failed = 0
    for song in songs:
        try:
            with _bar(song.name) as bar:
                done = separator.separate_file(
                    song,
                    out,
                    template=options["template"],
                    container=options["container"],
                    subtype=options["subtype"],
                    progress=bar,
                )
        except DuettoError as error:
            _complain(error)
            failed += 1
            continue
        for path in done.paths.values():
            click.echo(path)
        if done.n_clipped:
            click.echo(f"duetto: {song}: {done.n_clipped} samples were clipped", err=True)
    if failed:
        if len(songs) > 1:
            _complain(f"{failed} of {len(songs)} songs failed")
        sys.exit(1)


@cli.command()
@click.argument("recipe", default="drnn")
@DATA_OPTION
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/RECIPE]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe."
)
@click.option("--resume", is_flag=True, help="Go on with the run in that folder.")
@click.option("--accelerator", default="auto", show_default=True, help='"cpu", "cuda", "mps" or "auto".')
@click.option(
    "--devices", type=click.IntRange(min=1), default=1, show_default=True, help="Processes per machine."
)
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Machines.")
def train(recipe: str, data: Path, out: Path | None, overrides: tuple[str, ...], **options: Any) -> None:
    """Train a network as RECIPE says (a name, or a .toml file).

    Watch it with: tensorboard --logdir runs
    """
    from duetto.train.config import load_config
    from duetto.train.loop import train as run

    config = load_config(recipe, overrides)
    folder = out or Path("runs") / Path(recipe).stem
    shown: dict[str, float] = {}
    with _bar(config.name) as bar:

        def on_step(progress: "Progress", values: dict[str, float]) -> None:
            shown.update(values)
            bar(progress.step, config.run.n_steps, _note(shown))

        progress = run(config, data, folder, on_step=on_step, **options)
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
    type=click.Path(path_type=Path),
    help="Folder for the scores.  [default: scores/MODEL-DATASET-SPLIT]",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Tracks in work at a time.  [default: one per core]"
)
def evaluate(dataset: str, data: Path, model: str, split: str, out: Path | None, jobs: int | None) -> None:
    """Score a model on a DATASET: mir1k, ikala, musdb, dsd100 or pairs.

    Prints a table of GNSDR, GSIR and GSAR and writes the scores of every track as JSON.
    """
    from duetto.datasets import load_tracks
    from duetto.evaluation import evaluate as score
    from duetto.separator import Separator

    separator = Separator(model)
    tracks = load_tracks(dataset, data, split=split)
    folder = out or Path("scores") / f"{separator.metadata.name}-{dataset}-{split}"
    with _bar(f"{dataset} {split}") as bar:
        report = score(separator, tracks, jobs=jobs, progress=bar)
    report.save(folder)
    click.echo(report.summary())
    click.echo(f"duetto: scores of every track are in {folder}", err=True)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The bundle.  [default: NAME.onnx beside the run's files]",
)
@click.option("--float32", is_flag=True, help="Keep the weights' 32 bits; the file is twice as large.")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    help="scores.json of `duetto evaluate`, to go into the bundle.",
)
def export(run: Path, out: Path | None, float32: bool, metrics: Path | None) -> None:
    """Make a bundle (.onnx) of the best weights of a training RUN."""
    from duetto.train.export import export_run

    bundle = export_run(run, out, half=not float32, metrics=metrics)
    click.echo(bundle.path)


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--verify", is_flag=True, help="Run each network on a known input and check its answer.")
@click.option("--json", "as_json", is_flag=True, help="Print all that the bundles say of themselves.")
def models(names: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the models that ship, or describe those of the given NAMES or paths."""
    from duetto.bundle import Bundle, find_bundle, list_bundles

    for name in names or list_bundles():
        bundle = Bundle(find_bundle(name))
        if verify:
            bundle.verify()
        metadata = bundle.metadata
        if as_json:
            click.echo(metadata.to_json())
        else:
            megabytes = bundle.n_bytes / 1e6
            click.echo(f"{metadata.name}: {metadata.summary} ({megabytes:.1f} MB, {metadata.sample_rate} Hz)")
        if names and not as_json:
            click.echo(f"  trained on: {metadata.training_data}\n  licence: {metadata.licence}")
            click.echo(f"  weights: {metadata.n_parameters}, look-ahead: {metadata.look_ahead} frames")
            for source, scores in metadata.metrics.get("means", {}).items():
                figures = ", ".join(
                    f"{key.upper()} {value:.2f}" for key, value in scores.items() if key[0] == "g"
                )
                click.echo(f"  {source}: {figures} dB ({metadata.metrics.get('protocol', '')})")
        if verify:
            click.echo("  verified: the network gives the answer recorded at export")


@cli.command()
@click.argument("song", type=click.Path(path_type=Path))
@MODEL_OPTION
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The picture.  [default: SONG.png in this folder]"
)
@click.option("--max-frequency", default=8000.0, show_default=True, help="Top of the picture, hertz.")
def plot(song: Path, model: str, out: Path | None, max_frequency: float) -> None:
    """Draw the spectrograms of a SONG, its vocals and its accompaniment."""
    from duetto.audio import load_audio
    from duetto.plots import plot_spectrograms
    from duetto.separator import Separator

    audio, sample_rate = load_audio(song)
    with _bar(song.name) as bar:
        stems = Separator(model).separate(audio, sample_rate, progress=bar)
    target = out or Path(f"{song.stem}.png")
    click.echo(
        plot_spectrograms({"mixture": audio, **stems}, sample_rate, target, max_frequency=max_frequency)
    )


class _Bar(Protocol):
    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def _bar(label: str) -> Iterator[_Bar]:
    """A progress bar on stderr, moved by calls with what is done, what there is, and a note."""
    bar: ProgressBar[str | None]
    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=lambda note: note) as bar:

        def move(done: int, total: int, note: str = "") -> None:
            bar.length = total
            bar.update(done - bar.pos, note)

        yield move


def _note(values: dict[str, float]) -> str:
    score = values.get("dev/vocals/GNSDR")
    return f"loss {values['loss']:.4g}" + (f", dev GNSDR {score:.2f} dB" if score is not None else "")


def _complain(what: object) -> None:
    click.echo(f"duetto: {' '.join(str(what).split())}", err=True)


def _missing_extra(error: ModuleNotFoundError) -> str:
    extra = "eval" if error.name in ("matplotlib", "scipy") else "train"
    return f"this needs {error.name}, which is not installed; run pip install 'duetto[{extra}]'"


def _terminated(*_: object) -> NoReturn:
    sys.exit(143)  # leaves through every context manager, so no partial file stays
