"""Audio in and out: open, read in blocks, write atomically; every waveform is checked here and only here."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from duetto.audio.formats import (
    AUDIO_SUFFIXES,
    CONTAINERS,
    EXTENSIONS,
    AudioInfo,
    default_subtype,
    depth,
    output_format,
)
from duetto.audio.input_file import AudioFile
from duetto.audio.reader import AudioReader
from duetto.audio.waveform import check_waveform, quantise, to_float
from duetto.audio.writer import AudioWriter
from duetto.errors import AudioError

__all__ = [
    "AUDIO_SUFFIXES", "CONTAINERS", "EXTENSIONS", "AudioFile", "AudioInfo", "AudioReader", "AudioWriter",
    "check_waveform", "load_audio", "output_format", "quantise", "save_audio", "to_float",
]  # fmt: skip

_BLOCK = 65_536  # samples


def load_audio(source: AudioFile, *, audio_track: int | str | None = None) -> tuple[NDArray[np.float32], int]:
    """Read a whole file.

    Args:
        source: A path, the content of a file as bytes, or a binary file object that can seek.
        audio_track: Which sound track of a film: its number from 1, or its language, such as "eng".

    Returns:
        The waveform (n_channels, n_samples) as float32, full scale 1, and the sample rate in Hz.

    Raises:
        AudioError: As `AudioReader`.

    Examples:
        >>> import duetto
        >>> audio, sample_rate = duetto.load_audio("song.flac")
        >>> audio.shape, audio.dtype, sample_rate
        ((2, 512662), dtype('float32'), 44100)
    """
    with AudioReader(source, audio_track=audio_track) as reader:
        info = reader.info
        try:
            audio = np.empty((info.n_channels, info.n_samples), np.float32)
        except MemoryError as error:
            size = f"{info.n_samples} samples of {info.n_channels} channels"
            raise AudioError(f"{reader.name} does not fit into memory: {size}; read it in blocks") from error
        n_read = 0
        for block in reader.blocks(_BLOCK):
            audio[:, n_read : n_read + block.shape[1]] = to_float(block, info.bits)
            n_read += block.shape[1]
    return audio[:, :n_read], info.sample_rate


def save_audio(
    path: str | os.PathLike[str], audio: ArrayLike, sample_rate: float, *, subtype: str | None = None
) -> int:
    """Write a whole waveform, atomically; the extension says in which container.

    Args:
        path: Ends in .wav, .w64, .flac, .aiff, .aif, .ogg, .opus, .mp3 or .m4a.
        audio: (n_channels, n_samples) or (n_samples,), floats in [-1, 1].
        sample_rate: In Hz.
        subtype: By default FLOAT for WAV and W64, PCM_24 for FLAC and AIFF.

    Returns:
        The number of samples that an integer subtype had to clip.

    Raises:
        AudioError: As `check_waveform` and `AudioWriter`, or the extension is unknown.

    Examples:
        >>> import duetto, numpy as np
        >>> tone = 1.1 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
        >>> duetto.save_audio("tone.wav", tone, 44100)
        0
        >>> duetto.save_audio("tone.flac", tone, 44100) > 0  # integers cannot hold more than full scale
        True
    """
    waveform = check_waveform(audio, sample_rate=sample_rate)
    container = CONTAINERS.get(Path(path).suffix.lower())
    if container is None:
        raise AudioError(f"{path} has no extension of an audio file; allowed: {', '.join(CONTAINERS)}")
    subtype = subtype or default_subtype(container)
    bits = depth(subtype)
    block, n_clipped = (waveform, 0) if bits is None else quantise(waveform, bits)
    n_channels, n_samples = waveform.shape
    with AudioWriter(
        path,
        sample_rate=int(sample_rate),
        n_channels=n_channels,
        container=container,
        subtype=subtype,
        n_samples=n_samples,
    ) as writer:
        writer.write(block)
    return n_clipped
