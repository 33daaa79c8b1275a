"""Video files that PyAV alone writes, and what PyAV alone reads from them."""

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

CODECS = {"webm": ("libvpx", "libopus", "flt"), "avi": ("mpeg4", "mp3", "fltp")}
"""The codecs of pictures and sound, and FFmpeg's name of a sample's type; of others mpeg4 and AAC."""


def write_film(
    path: Path,
    sounds: list[np.ndarray],
    *,
    sample_rate: int = 44_100,
    start_seconds: float = 0.0,
    languages: tuple[str, ...] = (),
    subtitles: bool = False,
    lost_seconds: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write 25 pictures a second of noise, one second longer than the sound, which begins later.

    Args:
        path: The file; its suffix names the container.
        sounds: One waveform (n_channels, n_samples) for each sound track.
        sample_rate: In Hz.
        start_seconds: When the sound begins.
        languages: Of the sound tracks.
        subtitles: Whether there is a track of text as well (Matroska).
        lost_seconds: The packets of sound from here to there are left out.
    """
    picture_codec, sound_codec, sample = CODECS.get(path.suffix[1:], ("mpeg4", "aac", "fltp"))
    options = {"movie_timescale": str(sample_rate)} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as file:
        file.metadata["title"] = "Holiday"
        pictures = file.add_stream(picture_codec, rate=25)
        pictures.width = pictures.height = 32
        streams = []
        for index, sound in enumerate(sounds):
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
            stream = file.add_stream(sound_codec, rate=sample_rate, layout=layout)
            stream.codec_context.format, stream.codec_context.time_base = sample, Fraction(1, sample_rate)
            stream.bit_rate = 96_000 * len(sound)
            if languages:
                stream.metadata["language"] = languages[index]
            streams.append((stream, sound, layout))
        if subtitles:
            _copy_subtitles(file, path.with_suffix(".srt"))
        rng = np.random.default_rng(0)
        n_pictures = int(25 * (sounds[0].shape[1] / sample_rate + start_seconds + 1))
        for k in range(n_pictures):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            file.mux(pictures.encode(frame))
        file.mux(pictures.encode(None))
        for stream, sound, layout in streams:
            for start in range(0, sound.shape[1], 1024):
                block = sound[:, start : start + 1024].astype(np.float32)
                block = block if sample.endswith("p") else block.T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=sample, layout=layout)
                frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
                frame.pts = round(start_seconds * sample_rate) + start
                file.mux([packet for packet in stream.encode(frame) if not _lost(packet, lost_seconds)])
            file.mux(stream.encode(None))
    return path


def _copy_subtitles(file: Any, path: Path) -> None:
    lines = [f"{k}\n00:00:0{k},000 --> 00:00:0{k},500\nline {k}\n" for k in (1, 2)]
    path.write_text("\n".join(lines))
    with av.open(str(path)) as text:
        copy = file.add_stream_from_template(text.streams.subtitles[0])
        for packet in text.demux():
            if packet.size:
                packet.stream = copy
                file.mux(packet)


def _lost(packet: Any, lost_seconds: tuple[float, float]) -> bool:
    return lost_seconds[0] <= packet.pts * packet.time_base < lost_seconds[1]


def packets(path: Path, kind: str) -> list[tuple[float, str]]:
    """When each packet of the first stream of a kind is shown, in seconds, and the hash of its bytes."""
    with av.open(str(path)) as file:
        stream = getattr(file.streams, kind)[0]
        return [
            (float(packet.pts * packet.time_base), hashlib.sha256(bytes(packet)).hexdigest())
            for packet in file.demux(stream)
            if packet.size
        ]


def sound_of(path: Path, track: int = 0) -> tuple[np.ndarray, float]:
    """A sound track (n_channels, n_samples) as FFmpeg decodes it, and when it begins, in samples."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=track))
    n_channels = frames[0].layout.nb_channels
    blocks = [frame.to_ndarray() for frame in frames]
    if frames[0].format.is_packed:
        blocks = [block.reshape(-1, n_channels).T for block in blocks]
    return np.concatenate(blocks, axis=1), float(frames[0].pts * frames[0].time_base) * frames[0].sample_rate
