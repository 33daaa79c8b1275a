"""Options that several commands share, and the `FileOptions` that the options of `separate` make."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from duetto.separation.stem_writer import FileOptions

PATH = click.Path(path_type=Path)


class Command(click.Command):
    """A command whose options may be given once, unless they collect several values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse `--format mp3 --format flac` rather than let the last one win."""
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for parameter, n_times in Counter(given).items():
            if isinstance(parameter, click.Option) and n_times > 1 and not _repeats(parameter):
                raise click.UsageError(f"{parameter.opts[-1]} is given {n_times} times; give it once", ctx)
        return super().parse_args(ctx, args)


def _repeats(option: click.Option) -> bool:
    return option.multiple or option.is_flag


def _model_option(default: str) -> Callable[..., Any]:
    return click.option(
        "-n",
        "--model",
        default=default,
        metavar="MODEL",
        help="Name of a model or method that `duetto models` lists, or path of a model file (.onnx).",
    )


MODEL_OPTION = _model_option("duetto")
LIVE_MODEL_OPTION = _model_option("drnn")  # the only one of low latency
DATA_OPTION = click.option("--data", required=True, type=PATH, help="Folder of the dataset.")
PASSES_OPTION = click.option(
    "--passes",
    type=click.IntRange(1, 9),
    metavar="1-9",
    show_default="the model's own, mostly 1",
    help="Test-time augmentation: separate the song at this number of playback speeds, 5 % apart, and take "
    "the mean. Slightly better, and as many times slower.",
)


def settings_option(of: str) -> Callable[..., Any]:
    """The option --set: settings of recipes, as KEY=VALUE."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Change a setting of {of}; may be given several times.",
    )


def jobs_option(what: str) -> Callable[..., Any]:
    """The option --jobs: how many of `what` at a time."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="one per core",
        help=f"Number of {what} at a time.",
    )


def output_option(default: str, what: str) -> Callable[..., Any]:
    """The option --output, whose default depends on other arguments."""
    return click.option("-o", "--output", type=PATH, show_default=default, help=what)


def refuse_together(context: click.Context, one: str, other: str, why: str) -> None:
    """Refuse two options, by the names of their parameters, if both were given.

    Raises:
        click.UsageError: both were given.
    """
    sources = {context.get_parameter_source(name) for name in (one, other)}
    if sources == {ParameterSource.COMMANDLINE}:
        flags = {parameter.name: parameter.opts[-1] for parameter in context.command.params}
        raise click.UsageError(f"{flags[one]} and {flags[other]} exclude each other: {why}", context)


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Seconds, mm:ss or hh:mm:ss."""
    if value is None:
        return None
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", value):
        raise click.BadParameter(f"{value!r} is not a time; write seconds, mm:ss or hh:mm:ss, such as 1:23.5")
    seconds = 0.0
    for part in value.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _levels(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, float] | None:
    """Levels of stems: "vocals=-6dB,accompaniment=0dB"."""
    if value is None:
        return None
    levels: dict[str, float] = {}
    for part in value.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*([+-]?\d+(?:\.\d*)?)\s*(?:dB)?\s*", part, re.IGNORECASE)
        if not found or found[1] in levels:
            raise click.BadParameter(f"{part!r}: write each level once, as in vocals=-6dB,accompaniment=0dB")
        levels[found[1]] = float(found[2])
    return levels


def _track(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """The number of a sound track, or its language."""
    return int(value) if value is not None and value.isdecimal() else value


FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4", "video")
_FORMATS_OF = {
    "bit_depth": ("wav", "flac"),
    "bitrate": ("mp3", "opus", "m4a", "stem.mp4", "video"),
    "quality": ("mp3", "ogg", "flac"),
}

_FILE_OPTIONS = (
    click.option(
        "--format",
        type=click.Choice(FORMATS, case_sensitive=False),
        show_default="the song's own, or wav for a song in a lossy format",
        help="Format of the stems. stem.mp4 is one file for DJ software; video is a copy of the song's video "
        "file with the stems as its sound tracks.",
    ),
    click.option(
        "--stem",
        type=click.Choice(["vocals", "accompaniment"]),
        show_default="both",
        help="Write only this stem.",
    ),
    click.option(
        "--bit-depth",
        type=click.Choice(["16", "24", "32f"]),
        show_default="the song's own; 32f for a song in a lossy format",
        help="Bits per sample of wav and flac; 32f is 32-bit floating point.",
    ),
    click.option(
        "--bitrate",
        type=click.FloatRange(8, 512),
        metavar="KBITS",
        show_default="the encoder's own",
        help="Bit rate of mp3, opus and m4a, or of each sound track, in kbit/s.",
    ),
    click.option(
        "--quality",
        type=click.FloatRange(0, 10),
        metavar="0-10",
        show_default="the encoder's own",
        help="Quality of mp3 and ogg (10 is the best), or compression of flac (10 is the smallest file).",
    ),
    click.option(
        "--mix",
        callback=_levels,
        metavar="LEVELS",
        help="Write a mix of the stems at these levels instead of the stems, such as "
        "vocals=-6dB,accompaniment=0dB.",
    ),
    click.option(
        "--start",
        callback=_seconds,
        default="0",
        metavar="TIME",
        help="Separate the song from here: seconds, mm:ss or hh:mm:ss.",
    ),
    click.option(
        "--end",
        callback=_seconds,
        metavar="TIME",
        show_default="the song's end",
        help="Separate the song up to here.",
    ),
    click.option(
        "--audio-track",
        callback=_track,
        metavar="TRACK",
        show_default="the one that FFmpeg prefers",
        help="Sound track of a film that has several: its number, or its language such as eng.",
    ),
    click.option(
        "--template",
        default="{model}/{parent}/{track}/{stem}.{ext}",
        help="Path of a stem in the output folder.",
    ),
)


def with_file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `to_file_options` reads."""
    for option in reversed(_FILE_OPTIONS):
        command = option(command)
    return command


def to_file_options(context: click.Context) -> "FileOptions":
    """The `FileOptions` that a command's options ask for; its other options are left alone.

    Raises:
        click.UsageError: options that exclude each other.
        ConfigError: a value out of range.
    """
    from duetto.separation.remainder import STEMS
    from duetto.separation.stem_writer import FileOptions

    refuse_together(context, "stem", "mix", "a mix is written in the place of the stems")
    refuse_together(context, "bitrate", "quality", "both say how a lossy format is encoded")
    options = context.params
    _refuse_other_formats(context)
    if options["end"] is not None and options["end"] <= options["start"]:
        raise click.UsageError(
            f"--start {options['start']:g} and --end {options['end']:g} seconds exclude each other: the end "
            "must come after the start",
            context,
        )
    return FileOptions(
        template=options["template"],
        format=options["format"],
        bit_depth=options["bit_depth"],
        stems=(options["stem"],) if options["stem"] else STEMS,
        mix=options["mix"],
        start_seconds=options["start"],
        end_seconds=options["end"],
        bitrate_kbps=options["bitrate"],
        quality=options["quality"],
        audio_track=options["audio_track"],
    )


def _refuse_other_formats(context: click.Context) -> None:
    """Refuse an option that the chosen format does not have."""
    options = context.params
    for name, formats in _FORMATS_OF.items():
        flag = "--" + name.replace("_", "-")
        if options[name] is None or options["format"] in formats:
            continue
        if options["format"]:
            raise click.UsageError(
                f"--format {options['format']} and {flag} exclude each other: {flag} is for "
                f"{', '.join(formats)}",
                context,
            )
        if name == "bitrate":  # without --format stems are lossless
            raise click.UsageError(f"--bitrate needs --format {', '.join(formats)}", context)
    if (options["format"], options["bit_depth"]) == ("flac", "32f"):
        raise click.UsageError(
            "--format flac and --bit-depth 32f exclude each other: flac has no floating-point samples; "
            "use 24, or --format wav",
            context,
        )
