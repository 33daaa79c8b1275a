"""The command `stream`: raw samples (PCM) in, raw samples out, while they arrive."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from duetto.cli.console import complain
from duetto.cli.options import LIVE_MODEL_OPTION, Command
from duetto.errors import AudioError

if TYPE_CHECKING:
    from duetto.dsp.chunking import Waveform
    from duetto.separation.separator import Separator

TYPES = {"s16": ("<i2", 16), "f32": ("<f4", None)}  # in NumPy, and the depth of integers
STEMS = {"vocals": ("vocals",), "accompaniment": ("accompaniment",), "both": ("vocals", "accompaniment")}
READER_GONE = 141  # as if ended by SIGPIPE


class _StreamCommand(Command):
    """Its help tells the latency of every model that comes with Duetto, as the models themselves give it."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from duetto.models.registry import model_files

        rows = [(name, f"{_latency_ms(name, 44_100, 20):,.0f} ms") for name in model_files()]
        with formatter.section("Latency at 44.1 kHz, in blocks of 20 ms"):
            formatter.write_dl(rows)


@click.command(cls=_StreamCommand)
@click.option("--rate", required=True, type=int, metavar="HERTZ", help="Sample rate.")
@click.option(
    "--channels",
    required=True,
    type=click.IntRange(1, 64),
    metavar="N",
    help="Number of channels, interleaved.",
)
@click.option(
    "--format",
    "encoding",
    type=click.Choice(list(TYPES)),
    default="s16",
    help="16-bit integers or 32-bit floats, little-endian.",
)
@click.option(
    "--stem",
    type=click.Choice(list(STEMS)),
    default="accompaniment",
    help='Stem that is written; "both" has the channels of the vocals first, then those of the '
    "accompaniment.",
)
@click.option(
    "--block",
    type=click.FloatRange(1, 10_000),
    default=20,
    metavar="MS",
    help="Length of the blocks that are read; it adds to the latency and changes nothing else.",
)
@click.option("--latency", is_flag=True, help="Print the latency with these options, and exit.")
@LIVE_MODEL_OPTION
def stream(latency: bool, **options: Any) -> None:
    """Separate raw samples (PCM) from standard input in real time.

    For example, remove the vocals from what a sound card records:

    \b
        arecord -t raw -f S16_LE -r 44100 -c 2 |
            duetto stream --rate 44100 --channels 2 | aplay -f cd

    The output has as many samples as the input. It ends with the input, or when its reader ends.
    """  # noqa: D301 - click reads the character of \\b
    from duetto.separation.separator import Separator

    if latency:
        click.echo(f"{_latency_ms(options['model'], options['rate'], options['block']):.0f} ms")
        return
    for name, file in (("input", sys.stdin), ("output", sys.stdout)):
        if file is None:
            raise AudioError(f"standard {name} is closed; connect it to a pipe or a file")
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise click.UsageError("Samples are not text: connect standard input and output to pipes or files.")
    separator = Separator(options["model"])
    try:
        _separate(separator, **{name: value for name, value in options.items() if name != "model"})
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
        sys.exit(READER_GONE)


def _latency_ms(model: str, sample_rate: int, block: float) -> float:
    from duetto.separation.separator import Separator

    return 1000 * Separator(model).latency_seconds(sample_rate) + block


def _separate(
    separator: "Separator", *, rate: int, channels: int, encoding: str, stem: str, block: float
) -> None:
    import numpy as np

    from duetto.audio import to_float
    from duetto.dsp.chunking import SampleQueue
    from duetto.separation.remainder import split_block

    dtype, bits = TYPES[encoding]
    n_frame = channels * np.dtype(dtype).itemsize
    n_read = n_frame * max(1, round(block * rate / 1000))
    mixture, n_over, n_clipped = SampleQueue(), 0, 0

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
        complain(f"{n_clipped} samples clipped; --format f32 avoids it")
    if n_over:
        raise AudioError(
            f"the input ended with {n_over} of the {n_frame} bytes that {channels} {encoding} samples take; "
            "what came before them is written; are --channels and --format right?"
        )
