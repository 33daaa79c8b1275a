"""The options of commands that write stems, and the `FileOptions` that they make."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from duetto.separation.stem_writer import FileOptions


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Seconds, mm:ss or hh:mm:ss."""
    if value is None:
        return None
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", value):
        raise click.BadParameter(f"{value!r} is no time; write seconds, mm:ss or hh:mm:ss, such as 1:23.5")
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


_OPTIONS = (
    click.option(
        "--template",
        default="{model}/{parent}/{track}/{stem}.{ext}",
        show_default=True,
        help="Path of a stem below that folder.",
    ),
    click.option("--wav", "container", flag_value="WAV", help="Write WAV files."),
    click.option("--flac", "container", flag_value="FLAC", help="Write FLAC files (smaller, nothing lost)."),
    click.option("--mp3", "container", flag_value="MP3", help="Write MP3 files (small)."),
    click.option("--ogg", "container", flag_value="OGG", help="Write Ogg Vorbis files (small)."),
    click.option("--opus", "container", flag_value="OPUS", help="Write Opus files (smallest)."),
    click.option("--m4a", "container", flag_value="M4A", help="Write M4A files (AAC)."),
    click.option("--int16", "subtype", flag_value="PCM_16", help="Write 16 bits per sample."),
    click.option("--int24", "subtype", flag_value="PCM_24", help="Write 24 bits per sample."),
    click.option("--float32", "subtype", flag_value="FLOAT", help="Write 32-bit floating-point samples."),
    click.option(
        "--bitrate",
        "bitrate_kbps",
        type=click.FloatRange(8, 512),
        metavar="KBITS",
        help="Code MP3 and M4A with so many kbit/s.",
    ),
    click.option(
        "--quality",
        type=click.FloatRange(0, 10),
        metavar="0-10",
        help="Code MP3 and Ogg that well, FLAC that small.",
    ),
    click.option("--vocals-only", "only", flag_value="vocals", help="Write the vocals alone."),
    click.option(
        "--accompaniment-only", "only", flag_value="accompaniment", help="Write the accompaniment alone."
    ),
    click.option(
        "--mix",
        callback=_levels,
        metavar="LEVELS",
        help="Write one song of other levels, such as vocals=-6dB,accompaniment=0dB.",
    ),
    click.option(
        "--start",
        "start_seconds",
        callback=_seconds,
        default="0",
        metavar="TIME",
        help="Begin there: seconds, mm:ss or hh:mm:ss.",
    ),
    click.option("--end", "end_seconds", callback=_seconds, metavar="TIME", help="End there."),
)


def with_file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `to_file_options` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def to_file_options(options: dict[str, Any]) -> "FileOptions":
    """The `FileOptions` that a command's `options` ask for; its other options are left alone.

    Raises:
        ConfigError: options that exclude each other, or a value out of range.
    """
    from duetto.separation.remainder import STEMS
    from duetto.separation.stem_writer import FileOptions

    names = (
        "template", "container", "subtype", "mix", "start_seconds", "end_seconds", "bitrate_kbps", "quality",
    )  # fmt: skip
    stems = (options["only"],) if options["only"] else STEMS
    return FileOptions(stems=stems, **{name: options[name] for name in names})
