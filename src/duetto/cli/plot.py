"""The command `plot`."""

from pathlib import Path

import click

from duetto.cli.console import print_path, progress_bar
from duetto.cli.options import MODEL_OPTION, PATH, Command, output_option


@click.command(cls=Command)
@click.argument("song", type=PATH)
@MODEL_OPTION
@output_option("SONG.png in this folder", "Path of the picture, whose extension is its format.")
@click.option(
    "--max-frequency",
    type=click.FloatRange(min=0, min_open=True),
    default=8000,
    metavar="HERTZ",
    help="Highest frequency in the picture.",
)
def plot(song: Path, model: str, output: Path | None, max_frequency: float) -> None:
    """Draw the spectrograms of a song and its stems."""
    from duetto.audio import load_audio
    from duetto.evaluation.plots import plot_spectrograms
    from duetto.separation.separator import Separator

    separator = Separator(model)
    audio, sample_rate = load_audio(song)
    with progress_bar(song.name) as bar:
        stems = separator.separate(audio, sample_rate, progress=bar)
    waveforms = {"mixture": audio, **stems}
    target = output or Path(f"{song.stem}.png")
    print_path(plot_spectrograms(waveforms, sample_rate, target, max_frequency=max_frequency))
