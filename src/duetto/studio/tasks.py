"""What worker processes do: inspect a file, separate it, encode, score. Only the service chooses paths."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from duetto.audio import AudioInfo, AudioReader, AudioWriter, output_format, quantise
from duetto.audio.encoding import encoder_settings
from duetto.audio.formats import depth
from duetto.errors import AudioError, DuettoError
from duetto.studio.combination import Combination, Parts
from duetto.studio.configuration import MAX_CHANNELS

Progress = Callable[[int, int], None]

STEMS = ("vocals", "accompaniment")
SUFFIXES = {"wav": "WAV", "flac": "FLAC", "mp3": "MP3"}
MP3_QUALITY = 9  # variable bit rate
_BLOCK = 2**18


def inspect_song(*, path: Path, name: str, max_seconds: float, progress: Progress) -> AudioInfo:
    """What an uploaded file says of its audio.

    Raises:
        AudioError: it is no audio, too long, or has too many channels; the message calls it `name`.
    """
    with _named(path, name), AudioReader(path) as reader:
        info = reader.info
    _check_length(name, info.n_samples, info.sample_rate, max_seconds)
    if info.n_channels > MAX_CHANNELS:
        raise AudioError(f"{name} has {info.n_channels} channels; the studio plays up to {MAX_CHANNELS}")
    return info


def separate_song(
    *, song: Path, folder: Path, name: str, model: str, max_seconds: float, progress: Progress
) -> dict[str, Any]:
    """Separate a song into `folder`/vocals.wav and accompaniment.wav.

    Raises:
        AudioError: the song cannot be read to its end, or decodes to more than `max_seconds`.
        ModelError: no such model.
    """
    from duetto.separation.stem_writer import FileOptions

    with _named(song, name):
        with AudioReader(song) as reader:
            sample_rate = reader.info.sample_rate

        def limited(done: int, total: int) -> None:
            _check_length(name, done, sample_rate, max_seconds)
            progress(done, total)

        options = FileOptions(template="{stem}.{ext}", format="wav")
        done = _separator(model).separate_file(song, folder, options, progress=limited)
        with AudioReader(done.paths["vocals"]) as reader:
            info = reader.info
    return {"n_samples": info.n_samples, "subtype": info.subtype, "n_clipped": done.n_clipped}


@lru_cache(maxsize=1)
def _separator(model: str) -> Any:
    from duetto.separation.separator import Separator

    return Separator(model)


def export(*, parts: Parts, target: Path, suffix: str, progress: Progress) -> int:
    """Write a combination of stems in another format, at the stems' depth as far as it holds that.

    Returns:
        The number of samples that had to be clipped.

    Raises:
        AudioError: the format cannot hold such audio.
    """
    with Combination(parts) as sound:
        info = sound.info
        container, subtype = output_format(info, container=SUFFIXES[suffix])
        bits, n_clipped = depth(subtype), 0
        quality = MP3_QUALITY if suffix == "mp3" else None
        settings = encoder_settings(
            container, sample_rate=info.sample_rate, n_channels=info.n_channels, quality=quality
        )
        with AudioWriter(
            target,
            sample_rate=info.sample_rate,
            n_channels=info.n_channels,
            container=container,
            subtype=subtype,
            n_samples=info.n_samples,
            settings=settings,
        ) as writer:
            for block in sound.blocks(_BLOCK):
                if bits is None:
                    writer.write(block.astype("float32"))
                    continue
                integers, n_more = quantise(block, bits)
                writer.write(integers)
                n_clipped += n_more
    return n_clipped


def formats(info: AudioInfo) -> list[str]:
    """The formats that hold audio of this sample rate and number of channels."""
    held = []
    for suffix, container in SUFFIXES.items():
        try:
            output_format(info, container=container)
        except AudioError:
            continue
        held.append(suffix)
    return held


def describe_models(*, models: dict[str, str], progress: Progress) -> list[dict[str, Any]]:
    """The cards of named models; if there are none, of all that come with Duetto."""
    from duetto.models.registry import DEFAULT_MODEL, list_models

    own = sorted(list_models(), key=lambda name: name != DEFAULT_MODEL)
    return [_card(key, model) for key, model in (models or dict(zip(own, own, strict=True))).items()]


def _card(key: str, model: str) -> dict[str, Any]:
    from duetto.models.registry import open_model

    stage = open_model(model)[0]
    metadata = stage.metadata
    means = metadata.metrics.get("means", {})
    return {
        "key": key,
        "name": metadata.name,
        "summary": metadata.summary,
        "licence": metadata.licence or "no weights: a published method",
        "origin": metadata.training_data or metadata.paper,
        "n_parameters": metadata.n_parameters,
        "n_bytes": getattr(stage, "n_bytes", 0),
        "sample_rate": metadata.sample_rate,
        "scores": {
            stem: {key: round(values[key], 2) for key in ("gnsdr", "gsir", "gsar")}
            for stem, values in means.items()
        },
        "protocol": metadata.metrics.get("protocol", ""),
    }


def score_stems(
    *, references: dict[str, Path], estimates: dict[str, Path], progress: Progress
) -> dict[str, Any]:
    """BSS Eval of the stems against references, in dB; None where a ratio is infinite."""
    from duetto.audio import load_audio
    from duetto.evaluation.bss_eval import bss_eval

    scores = bss_eval(
        {stem: load_audio(path)[0] for stem, path in references.items()},
        {stem: load_audio(path)[0] for stem, path in estimates.items()},
    )
    return {
        stem: {key: _finite(getattr(of_stem, key)) for key in ("sdr", "sir", "sar")}
        for stem, of_stem in scores.items()
    }


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _check_length(name: str, n_samples: int, sample_rate: int, max_seconds: float) -> None:
    seconds = n_samples / sample_rate
    if seconds > max_seconds:
        raise AudioError(
            f"{name} lasts more than {max_seconds / 60:g} minutes ({seconds / 60:.1f}); the studio takes no "
            "longer songs: duetto separate does, and so does a studio started with a larger --max-minutes"
        )


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Put the user's name of a file where an error names its path."""
    try:
        yield
    except DuettoError as error:
        raise type(error)(str(error).replace(str(path), name)) from error
