"""Reads random files with Duetto and with FFmpeg, and compares what comes out with what went in.

    python scripts/differential_audio.py --files 2000

Every file has a random container, codec, sample rate and number of channels, and is then left as it is, cut
off, joined with another, or given tags, zeros or wrong lengths. It is right if Duetto gives the samples that
went in, in number, order of channels and value, as exactly as the codec keeps them; or, where the file does
not tell how many went in, what FFmpeg gives; or if Duetto refuses it with the right reason.
All else is a fault.
File number K is the same in every run: `--first K --files 1 --keep FOLDER` makes it again and keeps it.
"""

import argparse
import io
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from duetto.audio import AudioReader
from duetto.audio.channels import XIPH_ORDER
from duetto.audio.ogg import checksum
from duetto.errors import AudioError

ID3V1 = b"TAG" + b"Title".ljust(124, b"\0") + b"\x0c"
ID3V2 = b"ID3\x04\0\0\0\0\x0f\x50" + b"TIT2\0\0\0\x05\0\0\x03Song".ljust((0x0F << 7) + 0x50, b"\0")
LAYOUTS = ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"]  # FFmpeg's names
PACKET = 4096  # samples; no lossy packet here is longer
SAME = -40.0  # dB; two decoders of one lossy stream differ by less


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Attributes:
        name: What the table calls it.
        make: Writes (samples, sample rate) into bytes.
        rates: Sample rates in Hz.
        channels: Numbers of channels.
        decibels: The codec's error relative to the signal at most; -inf where nothing is lost.
        exact: Whether the file tells how many samples went in.
        joins: Whether files of this kind that follow one another are one song.
    """

    name: str
    make: Callable[[np.ndarray, int], bytes]
    rates: tuple[int, ...] = (8000, 22_050, 44_100, 48_000, 96_000)
    channels: tuple[int, ...] = (1, 2, 2, 2, 3, 4, 5, 6, 7, 8)
    decibels: float = -np.inf
    exact: bool = True
    joins: bool = False


def by_libsndfile(container: str, subtype: str, **settings: object) -> Callable[[np.ndarray, int], bytes]:
    """A maker of files through libsndfile; Vorbis and Opus get their channels in their own order."""

    def make(samples: np.ndarray, rate: int) -> bytes:
        data = io.BytesIO()
        order = np.argsort(XIPH_ORDER.get(len(samples), range(len(samples))))
        stored = samples[order] if container == "OGG" else samples
        soundfile.write(data, stored.T, rate, subtype, format=container, **settings)
        if container == "AIFF" and subtype == "ULAW" and samples.size % 2:
            return with_pad_byte(data.getvalue(), samples)
        return data.getvalue()

    return make


def with_pad_byte(data: bytes, samples: np.ndarray) -> bytes:
    """An AIFF-C of one byte per sample with its true lengths; libsndfile counts the byte that pads."""
    changed = bytearray(data)
    for at, number in (
        (data.index(b"COMM") + 10, samples.shape[1]),
        (data.index(b"SSND") + 4, samples.size + 8),
    ):
        changed[at : at + 4] = number.to_bytes(4, "big")
    return bytes(changed)


def by_ffmpeg(
    container: str, codec: str, sample: str, options: dict[str, str] | None = None
) -> Callable[[np.ndarray, int], bytes]:
    """A maker of files through FFmpeg; `sample` is its name of the samples' type."""

    def make(samples: np.ndarray, rate: int) -> bytes:
        data = io.BytesIO()
        layout = LAYOUTS[len(samples) - 1]
        native = as_type(samples, sample)
        timed = {"movie_timescale": str(rate)} if container in ("ipod", "mp4", "mov") else {}
        with av.open(data, "w", format=container, options=timed | (options or {})) as file:
            stream = file.add_stream(codec, rate=rate, layout=layout)
            stream.codec_context.format, stream.codec_context.time_base = sample, Fraction(1, rate)
            stream.bit_rate = 128_000 * len(samples)
            stream.codec_context.options = {"mapping_family": "1"} if codec == "libopus" else {}
            for start in range(0, samples.shape[1], 1024):
                block = native[:, start : start + 1024]
                block = block if sample.endswith("p") else block.T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=sample, layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        return data.getvalue()

    return make


def as_type(samples: np.ndarray, sample: str) -> np.ndarray:
    """Samples of 16 bits as FFmpeg's type."""
    if sample.startswith("flt"):
        return samples.astype(np.float32)
    bits = 16 if sample.startswith("s16") else 32
    return (samples * 2.0 ** (bits - 1)).astype(np.int16 if bits == 16 else np.int32)


def in_wav(samples: np.ndarray, rate: int) -> bytes:
    """MP3 without its length tag, as the samples of a WAV file."""
    mp3 = by_libsndfile("MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE")(samples, rate)
    tag = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    frames = mp3[mp3.index(mp3[:2], tag) :]
    form = struct.pack("<HHIIHHH", 0x55, len(samples), rate, 16_000, 1, 0, 12) + bytes(12)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(frames)) + frames
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


LAYER_3 = "MPEG_LAYER_III"
MP3 = (8000, 16_000, 22_050, 32_000, 44_100, 48_000)
AAC = (8000, 22_050, 44_100, 48_000, 96_000)
SIX = (1, 2, 2, 2, 3, 4, 5, 6)
FRAGMENTED = {"movflags": "delay_moov+frag_keyframe", "frag_duration": "300000"}
FORMS = [
    *(
        Form(f"{container} {subtype}", by_libsndfile(container, subtype), decibels=error)
        for container in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF")
        for subtype, error in (("PCM_16", -np.inf), ("PCM_24", -np.inf), ("FLOAT", -np.inf), ("ULAW", -20))
    ),
    Form("CAF ALAC_16", by_libsndfile("CAF", "ALAC_16")),
    Form("FLAC PCM_16", by_libsndfile("FLAC", "PCM_16"), joins=True),
    Form("FLAC PCM_24", by_libsndfile("FLAC", "PCM_24"), joins=True),
    Form("Ogg Vorbis", by_libsndfile("OGG", "VORBIS"), decibels=-6, joins=True),
    Form("Ogg Opus", by_libsndfile("OGG", "OPUS"), (48_000,), decibels=-6, joins=True),
    Form("MP3 VBR", by_libsndfile("MP3", LAYER_3, bitrate_mode="VARIABLE"), MP3, (1, 2), -6, joins=True),
    Form("MP3 CBR", by_libsndfile("MP3", LAYER_3, bitrate_mode="CONSTANT"), MP3, (1, 2), -6, joins=True),
    Form("MP3 in WAV", in_wav, MP3, (1, 2), -6, exact=False),
    Form("M4A AAC", by_ffmpeg("ipod", "aac", "fltp"), AAC, SIX, -6),
    Form("MP4 AAC fragmented", by_ffmpeg("mp4", "aac", "fltp", FRAGMENTED), AAC, SIX, -6, exact=False),
    Form("MP4 AC-3", by_ffmpeg("mp4", "ac3", "fltp"), (32_000, 44_100, 48_000), SIX, -6, exact=False),
    Form("M4A ALAC", by_ffmpeg("ipod", "alac", "s16p"), AAC, (1, 2, 2, 3, 5, 6)),
    Form("MOV PCM", by_ffmpeg("mov", "pcm_s24le", "s32")),
    Form("Matroska AAC", by_ffmpeg("matroska", "aac", "fltp"), AAC, SIX, -6, exact=False),
    Form("Matroska FLAC", by_ffmpeg("matroska", "flac", "s16")),
    Form("Matroska PCM", by_ffmpeg("matroska", "pcm_s16le", "s16")),
    Form("WebM Opus", by_ffmpeg("webm", "libopus", "flt"), (48_000,), decibels=-6, exact=False),
    Form("MP4 Opus", by_ffmpeg("mp4", "libopus", "flt"), (48_000,), decibels=-6),
    Form("ADTS AAC", by_ffmpeg("adts", "aac", "fltp"), AAC, SIX, -6, exact=False),
    Form("WMA", by_ffmpeg("asf", "wmav2", "fltp"), (22_050, 44_100, 48_000), (1, 2), -6, exact=False),
    Form("AC-3", by_ffmpeg("ac3", "ac3", "fltp"), (32_000, 44_100, 48_000), SIX, -6, exact=False),
    Form("E-AC-3", by_ffmpeg("eac3", "eac3", "fltp"), (32_000, 44_100, 48_000), SIX, -6, exact=False),
    Form("MPEG-TS AAC", by_ffmpeg("mpegts", "aac", "fltp"), (44_100, 48_000), SIX, -6, exact=False),
    Form("AVI PCM", by_ffmpeg("avi", "pcm_s16le", "s16"), exact=False),
    Form("FLV AAC", by_ffmpeg("flv", "aac", "fltp"), (44_100, 48_000), (1, 2), -6, exact=False),
    Form("WavPack", by_ffmpeg("wv", "wavpack", "s16p"), channels=SIX),
    Form("TTA", by_ffmpeg("tta", "tta", "s16")),
    Form("Ogg FLAC", by_ffmpeg("ogg", "flac", "s16"), exact=False),
]  # fmt: skip
WEIGHTS = np.array([4.0 if form.joins else 1.0 for form in FORMS])  # more may become of those that join
WEIGHTS /= WEIGHTS.sum()
TAGGED = ("MP3 VBR", "MP3 CBR", "FLAC PCM_16", "FLAC PCM_24")  # what programs put ID3 tags around
REFUSALS = (
    ("truncated", "cut off"),
    ("holds no samples", "cut off"),  # in its first packets, where FFmpeg finds none either
    ("holds no sound", "cut off"),
    ("consists of", "joined with another kind"),
)  # why a file may be refused, by what became of it
WITH_LENGTH = ("MP3 VBR", "MP3 CBR", "Ogg Opus", "WAV PCM_16", "WAV PCM_24")  # what `wrong_length` knows


@dataclass(frozen=True)
class Case:
    """A file, and the samples that went into it: (n_channels, n_samples), None where no one can tell them."""

    form: Form
    change: str
    rate: int
    data: bytes
    expected: np.ndarray | None


def song(rng: np.random.Generator, n_channels: int, rate: int) -> np.ndarray:
    """A tone of its own in each channel, and noise, in steps of 16 bits."""
    n_samples = int(rng.integers(rate // 4, 2 * rate))
    time = np.arange(n_samples) / rate
    hertz = 60 + 8 * rng.permutation(n_channels)  # what encoders keep for low-frequency channels:
    hertz = hertz * min(rate / 22_050, 1)  # FFmpeg's for AAC keeps 12 of 1024 bands
    tones = 0.3 * np.sin(2 * np.pi * hertz[:, np.newaxis] * time + rng.uniform(0, 6, (n_channels, 1)))
    return np.round(32_768 * (tones + rng.uniform(-0.01, 0.01, tones.shape))) / 32_768


def changes(form: Form) -> list[str]:
    """What may become of a file; each as probable as to be left as it is."""
    joins = ["joined", "joined with another kind"] if form.joins else []
    tags = ["tags", "zeros"] if form.name in TAGGED else []
    return ["none", "cut off", *joins, *tags, *(["wrong length"] if form.name in WITH_LENGTH else [])]


def case(index: int, seed: int) -> Case:
    """File number `index`."""
    rng = np.random.default_rng([seed, index])
    form = FORMS[rng.choice(len(FORMS), p=WEIGHTS)]
    rate, n_channels = int(rng.choice(form.rates)), int(rng.choice(form.channels))
    change = str(rng.choice(changes(form)))
    expected = song(rng, n_channels, rate)
    data = form.make(expected, rate)
    if change == "cut off":
        return Case(form, change, rate, data[: int(rng.integers(len(data) // 4, len(data)))], None)
    if change == "joined":
        other = song(rng, n_channels, rate)
        return Case(
            form, change, rate, data + form.make(other, rate), np.concatenate([expected, other], axis=1)
        )
    if change == "joined with another kind":
        rate_2 = int(rng.choice([each for each in form.rates if each != rate] or [rate]))
        n_2 = n_channels if rate_2 != rate else n_channels % 2 + 1
        return Case(form, change, rate, data + form.make(song(rng, n_2, rate_2), rate_2), None)
    if change == "tags":
        return Case(form, change, rate, ID3V2 * bool(rng.integers(2)) + data + ID3V1, expected)
    if change == "zeros":
        before = bytes(int(rng.integers(1, 9000))) if form.name.startswith("MP3") else b""
        return Case(form, change, rate, before + data + bytes(int(rng.integers(1, 9000))), expected)
    if change == "wrong length":
        return Case(form, change, rate, wrong_length(form, data, rng), expected)
    return Case(form, "none", rate, data, expected if form.exact else None)


def wrong_length(form: Form, data: bytes, rng: np.random.Generator) -> bytes:
    """The file with a length or rate in its header that is not true."""
    changed = bytearray(data)
    if form.name in ("MP3 VBR", "MP3 CBR"):
        at = max(data.find(b"Xing"), data.find(b"Info")) + 8
        n_frames = int.from_bytes(data[at : at + 4], "big")
        changed[at : at + 4] = int(rng.integers(1, max(n_frames, 2))).to_bytes(4, "big")
    elif form.name == "Ogg Opus":
        at = data.index(b"OpusHead") + 12
        changed[at : at + 4] = int(rng.choice([0, 8000, 16_000, 44_100])).to_bytes(4, "little")
        stop = data.index(b"OggS", 4)
        changed[22:26] = bytes(4)
        changed[22:26] = checksum(changed[:stop]).to_bytes(4, "little")
    else:
        at = data.index(b"data") + 4
        changed[at : at + 4] = b"\xff\xff\xff\xff"
        changed[4:8] = b"\xff\xff\xff\xff"
    return bytes(changed)


def by_duetto(data: bytes) -> tuple[np.ndarray, int]:
    """The samples, full scale 1, and the sample rate."""
    with AudioReader(data) as reader:
        blocks = list(reader.blocks(10_000))
        scale = 1.0 if reader.info.bits is None else 2.0 ** (reader.info.bits - 1)
        return np.concatenate(blocks, axis=1) / scale, reader.info.sample_rate


def reference(data: bytes) -> tuple[np.ndarray, int]:
    """The same of FFmpeg."""
    with av.open(io.BytesIO(data)) as file:
        rate, resampler, blocks = 0, av.AudioResampler(format="dbl"), []
        for frame in file.decode(audio=0):
            rate, n_channels = frame.sample_rate, frame.layout.nb_channels
            blocks += [each.to_ndarray().reshape(-1, n_channels).T for each in resampler.resample(frame)]
    return np.concatenate(blocks, axis=1), rate


def judged(one: Case) -> str:
    """What became of a file: "right", "as FFmpeg", "refused: WHY", or "FAULT: WHAT"."""
    try:
        samples, rate = by_duetto(one.data)
    except AudioError as error:
        return refusal(one, str(error))
    if rate != one.rate:
        return f"FAULT: {rate} Hz instead of {one.rate}"
    if one.change == "joined with another kind":
        return "FAULT: two kinds of audio became one"
    if one.expected is not None:
        return compared(samples, one.expected, one.form.decibels, 0) or "right"
    try:
        other, _ = reference(one.data)
    except (av.FFmpegError, ValueError) as error:
        return "right" if one.change == "cut off" else f"FAULT: FFmpeg refuses it: {error}"
    loose = one.change == "cut off" or one.form.name.startswith(("MP3 in WAV", "MP4"))
    slack = PACKET if loose else 0
    return compared(samples, other, SAME if np.isfinite(one.form.decibels) else -np.inf, slack) or "as FFmpeg"


def refusal(one: Case, message: str) -> str:
    """Whether a refusal is right."""
    for reason, change in REFUSALS:
        if reason in message and one.change == change:
            right = not reason.startswith("holds no") or not has_samples(one.data)
            return f"refused: {reason}" if right else f"FAULT: {message}"
    return f"FAULT: {message}"


def has_samples(data: bytes) -> bool:
    """Whether FFmpeg finds any."""
    try:
        return reference(data)[0].size > 0
    except (av.FFmpegError, ValueError, IndexError):
        return False


def compared(samples: np.ndarray, other: np.ndarray, decibels: float, slack: int) -> str:
    """How the samples differ from others; empty where they do not, but for `slack` samples at either end."""
    late = samples.shape[1] - other.shape[1]
    if len(samples) != len(other) or abs(late) > slack:
        return f"FAULT: {samples.shape} samples, not {other.shape}"
    n_samples = min(samples.shape[1], other.shape[1])
    errors = []
    for lag in sorted({0, late}):  # the difference may lie at the start or at the end
        ours, theirs = samples[:, max(lag, 0) :], other[:, max(-lag, 0) :]
        n = min(ours.shape[1], theirs.shape[1], n_samples) - slack
        if n <= 0:  # cut off in its first packets
            return ""
        levels = [np.linalg.norm(each[:, :n], axis=1) for each in (ours[:, :n] - theirs[:, :n], theirs)]
        level = levels[0] / (levels[1] + 1e-9)
        errors.append(20 * np.log10(np.max(level) + 1e-12))
    if min(errors) > max(decibels, -150):
        return f"FAULT: the samples differ by {min(errors):.0f} dB"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=2000, help="number of files")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write the files into this folder")
    options = parser.parse_args()
    av.logging.set_level(av.logging.PANIC)
    counts: dict[str, Counter[str]] = {}
    faults = []
    for index in range(options.first, options.first + options.files):
        one = case(index, options.seed)
        if options.keep:
            (options.keep / f"{index}").write_bytes(one.data)
        verdict = judged(one)
        counts.setdefault(one.change, Counter())[verdict.split(":")[0]] += 1
        if verdict.startswith("FAULT"):
            faults.append(f"{index} ({one.form.name}, {one.change}): {verdict}")
    print(*faults, sep="\n", end="\n" if faults else "")
    print("| the file is | files | right | as FFmpeg | refused | faults |\n|---|---|---|---|---|---|")
    total = sum(counts.values(), Counter())
    for change, row in [*sorted(counts.items()), ("all", total)]:
        columns = [row.total(), row["right"], row["as FFmpeg"], row["refused"], row["FAULT"]]
        print(f"| {'as it was made' if change == 'none' else change} | {' | '.join(map(str, columns))} |")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
