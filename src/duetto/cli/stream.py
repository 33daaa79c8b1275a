"""The command that separates what is still playing: raw samples in, raw samples out."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from duetto.cli.console import LIVE_MODEL_OPTION, complain
from duetto.errors import AudioError

if TYPE_CHECKING:
    from duetto.dsp.chunking import Waveform
    from duetto.separation.separator import Separator

TYPES = {"s16": ("<i2", 16), "f32": ("<f4", None)}  # in NumPy, and the depth of integers
STEMS = {
    "vocals": ("vocals",),
    "accompaniment": ("accompaniment",),
    "both": ("vocals", "accompaniment"),
}
READER_GONE = 141  # as if ended by SIGPIPE


@click.command()
@click.option("--rate", required=True, type=int, metavar="HERTZ", help="Sample rate.")
@click.option(
    "--channels", required=True, type=click.IntRange(1, 64), metavar="N", help="Channels, interleaved."
)
@click.option(
    "--format",
    "encoding",
    type=click.Choice(list(TYPES)),
    default="s16",
    show_default=True,
    help="16-bit integers or 32-bit floats, little-endian.",
)
@click.option(
    "--stem",
    type=click.Choice(list(STEMS)),
    default="accompaniment",
    show_default=True,
    help='What is written; "both" has the channels of the vocals first, then those of the accompaniment.',
)
@click.option(
    "--block",
    type=click.FloatRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="MS",
    help="How much is read at a time; it adds to the latency and changes nothing else.",
)
@click.option("--latency", is_flag=True, help="Print how far the output lags behind the input, and exit.")
@LIVE_MODEL_OPTION
def stream(latency: bool, **options: Any) -> None:
    """Separate raw samples from standard input while they arrive.

    For example, what a microphone or line hears, without the voice:

        arecord -t raw -f S16_LE -r 44100 -c 2 | duetto stream --rate 44100 --channels 2 | aplay -f cd

    The output has as many samples as the input. It ends with the input, or when its reader has gone. The
    model `duetto` works here too, but looks at 8 seconds at a time and is that late.
    """
    from duetto.separation.separator import Separator

    separator = Separator(options["model"])
    if latency:
        milliseconds = 1000 * separator.latency_seconds(options["rate"]) + options["block"]
        click.echo(f"{milliseconds:.0f} ms")
        return
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise click.UsageError("Samples are no text: send standard input and output through pipes or files.")
    try:
        _separate(separator, **{name: value for name, value in options.items() if name != "model"})
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
        sys.exit(READER_GONE)


def _separate(
    separator: "Separator", *, rate: int, channels: int, encoding: str, stem: str, block: float
) -> None:
    import numpy as np

    from duetto.audio import to_float
    from duetto.dsp.chunking import Fifo
    from duetto.separation.remainder import split_block

    dtype, bits = TYPES[encoding]
    n_frame = channels * np.dtype(dtype).itemsize
    n_read = n_frame * max(1, round(block * rate / 1000))
    mixture, n_over, n_clipped = Fifo(), 0, 0

    def blocks() -> Iterator["Waveform"]:
        nonlocal n_over
        while data := sys.stdin.buffer.read(n_read):
            n_over = len(data) % n_frame
            samples = np.frombuffer(data, dtype, (len(data) - n_over) // n_frame * channels)
            if samples.size:
                yield to_float(mixture.put(samples.reshape(-1, channels).T), bits)

    for separated in separator.stream(blocks(), rate):
        vocals = separated["vocals"]
        stems, n = split_block(mixture.take(vocals.shape[-1]), vocals, bits=bits, bits_out=bits)
        n_clipped += n
        sys.stdout.buffer.write(
            np.concatenate([stems[name] for name in STEMS[stem]]).T.astype(dtype).tobytes()
        )
        sys.stdout.buffer.flush()
    if n_clipped:
        complain(f"{n_clipped} samples were too loud and clipped; --format f32 keeps them")
    if n_over:
        raise AudioError(
            f"the input ended with {n_over} of the {n_frame} bytes that {channels} {encoding} samples take; "
            "what came before them is written; are --channels and --format right?"
        )
