"""What a file's audio is, what a container can hold, and which format the stems of a file get."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from duetto.errors import AudioError

EXTENSIONS = {
    "RF64": ".wav", "WAV": ".wav", "W64": ".w64", "FLAC": ".flac", "AIFF": ".aiff",
    "OGG": ".ogg", "OPUS": ".opus", "MP3": ".mp3", "M4A": ".m4a",
}  # fmt: skip
"""The extension of each container that can be written. OPUS is OGG that holds the subtype OPUS."""

BIT_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "32": "PCM_32", "32f": "FLOAT", "64f": "DOUBLE"}
"""The subtypes of bits per sample that can be asked for; "f" means floating point."""

CONTAINERS = {extension: container for container, extension in EXTENSIONS.items()} | {".aif": "AIFF"}
"""The container of each extension."""

MULTI_TRACK = ("VIDEO", "STEM.MP4")
"""What is written with sound tracks for stems: the song's video file again, or the format of DJ software."""

AUDIO_SUFFIXES = frozenset(CONTAINERS) | {
    ".3gp", ".aac", ".ac3", ".aifc", ".ape", ".asf", ".au", ".avi", ".avr", ".bwf", ".caf", ".dts", ".eac3",
    ".flv", ".m2ts", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp1", ".mp2", ".mp4", ".mpc", ".mpeg", ".mpg",
    ".mts", ".nist", ".oga", ".ogv", ".ogx", ".paf", ".pvf", ".rf64", ".snd", ".sph", ".spx", ".tak", ".ts",
    ".tta", ".vob", ".voc", ".wave", ".webm", ".wma", ".wmv", ".wv",
}  # fmt: skip
"""The suffixes of what counts as a song in a folder; a file that is named may have any, or none."""

_DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "DWVW_24": 24,
           "ALAC_20": 24, "ALAC_24": 24, "ALAC_32": 32} | dict.fromkeys(
    ("ALAC_16", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "DWVW_12", "DWVW_16",
     "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), 16
)  # fmt: skip
_CODECS = {"OGG": "VORBIS", "OPUS": "OPUS", "MP3": "MPEG_LAYER_III", "M4A": "AAC"}
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)  # Hz
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # Hz
_LIMITS = {
    "M4A": "1 to 6 channels at 8, 11.025, 12, 16, 22.05, 24, 32, 44.1, 48, 64, 88.2 or 96 kHz",
    "MP3": "1 or 2 channels at 8, 11.025, 12, 16, 22.05, 24, 32, 44.1 or 48 kHz",
    "OPUS": "1 to 255 channels",
    "FLAC": "1 to 8 channels, and above 65.535 kHz only multiples of 10 Hz",
}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about its audio.

    Attributes:
        sample_rate: In Hz.
        n_channels: Number of channels.
        n_samples: Samples per channel. The length that an MP3's tag states may exceed what can be decoded.
        container: A key of `EXTENSIONS`, OGG for Vorbis and Opus alike; or one that can only be read, in
            libsndfile's words (AU, CAF...) or FFmpeg's in capitals (MATROSKA, AVI...).
        subtype: How a sample is coded, in libsndfile's words: PCM_16, FLOAT, VORBIS...; or FFmpeg's, in
            capitals, for codecs that libsndfile does not know.
        channel_mask: Which loudspeakers the channels are for, as `duetto.audio.channels` says; 0 where the
            file does not tell. Blocks have the channels in the order of its bits.
    """

    sample_rate: int
    n_channels: int
    n_samples: int
    container: str
    subtype: str
    channel_mask: int = 0

    @property
    def bits(self) -> int | None:
        """Integer depth; None for floating-point and lossy audio. Companded integers count as 16 bits."""
        return depth(self.subtype)

    @property
    def lossy(self) -> bool:
        """Whether the coding loses something: Vorbis, Opus, MPEG, AAC..."""
        return self.bits is None and self.subtype not in ("FLOAT", "DOUBLE")


def depth(subtype: str) -> int | None:
    """The integer depth of a subtype in bits; None where its samples are floats."""
    return _DEPTHS.get(subtype)


def stored_bytes(subtype: str) -> int:
    """The bytes that a sample takes in a file without compression; at least, where it has some."""
    if subtype in ("FLOAT", "DOUBLE"):
        return 4 if subtype == "FLOAT" else 8
    return (depth(subtype) or 8) // 8


def default_subtype(container: str) -> str:
    """The subtype that holds floats best: FLOAT, or else 24 bits, or the container's own codec."""
    if container in _CODECS:
        return _CODECS[container]
    return "PCM_24" if container in ("FLAC", "AIFF") else "FLOAT"


def own_name(container: str) -> str:
    """What libsndfile calls a container."""
    return "OGG" if container == "OPUS" else container


def written_rate(subtype: str, sample_rate: int) -> int:
    """The sample rate in Hz at which `AudioWriter` writes audio: 48 kHz where Opus does not know its own."""
    return 48_000 if subtype == "OPUS" and sample_rate not in _OPUS_RATES else sample_rate


def output_format(
    info: AudioInfo, *, container: str | None = None, subtype: str | None = None
) -> tuple[str, str]:
    """The format that the stems of a file get.

    By default a lossless file's own; companded and ADPCM audio become PCM_16, lossy audio WAV FLOAT, and
    what can only be read becomes WAV. A container that cannot hold the file's depth gets the deepest that it
    can.

    Args:
        info: The file that was separated.
        container: A key of `EXTENSIONS`, or one of `MULTI_TRACK`, if not the default.
        subtype: A subtype, if not the default; without `container`, WAV if the file's cannot hold it.

    Returns:
        Container and subtype for `AudioWriter`; Ogg that holds Opus comes back as OPUS.

    Raises:
        AudioError: The container or subtype is unknown, or cannot hold the subtype, sample rate or channels.
    """
    if container in MULTI_TRACK:
        if subtype is not None:
            raise AudioError(f"{container} has no subtype {subtype!r}; its sound is AAC or Opus")
        return container, "AAC"
    if container is None:
        container = "WAV" if info.lossy or info.container not in EXTENSIONS else info.container
        wanted = subtype or (
            f"PCM_{info.bits}" if info.bits == 32 else None
        )  # FLAC of 32 bits cannot be written
        if wanted and not holds_subtype(container, wanted):
            container = "WAV"
    if container not in EXTENSIONS:
        raise AudioError(f"container {container!r} is unknown; allowed: {', '.join(EXTENSIONS)}")
    if subtype is None:
        subtype = _CODECS.get(container) or _own_subtype(info, container)
    check_holds(container, subtype, info.sample_rate, info.n_channels)
    return "OPUS" if subtype == "OPUS" else container, subtype


def _own_subtype(info: AudioInfo, container: str) -> str:
    """The subtype of `container` that keeps most of what the file holds."""
    if info.bits is None:
        own = "FLOAT" if info.lossy else info.subtype
    else:
        own = info.subtype if info.subtype.startswith("PCM_") else f"PCM_{info.bits}"
    other_sign = {"PCM_U8": "PCM_S8", "PCM_S8": "PCM_U8"}.get(own, own)
    candidates = (own, other_sign, "PCM_24")
    return next(subtype for subtype in candidates if soundfile.check_format(container, subtype))


def check_holds(container: str, subtype: str, sample_rate: int, n_channels: int) -> None:
    """Refuse what a container cannot hold.

    Raises:
        AudioError: It cannot hold this subtype, or not at this sample rate in Hz and channel count.
    """
    name = own_name(container)
    if not holds_subtype(container, subtype):
        known = () if container not in EXTENSIONS else soundfile.available_subtypes(name) or ["AAC"]
        raise AudioError(
            f"{container} cannot hold {subtype}; allowed: {', '.join(known) or 'none'}; "
            "or choose another container"
        )
    if not _can_hold(name, subtype, sample_rate, n_channels):
        limits = _LIMITS.get(
            "OPUS" if subtype == "OPUS" else container, "other sample rates or channel counts"
        )
        raise AudioError(
            f"{container} {subtype} cannot hold {n_channels} channels at {sample_rate} Hz; "
            f"allowed: {limits}; choose another container, such as WAV"
        )


def holds_subtype(container: str, subtype: str) -> bool:
    """Whether a container can be written with such a subtype."""
    if container == "M4A":
        return subtype == "AAC"
    return container in EXTENSIONS and bool(soundfile.check_format(own_name(container), subtype))


def _can_hold(container: str, subtype: str, sample_rate: int, n_channels: int) -> bool:
    """Whether a container and subtype can hold audio of this rate and channel count: one sample is tried."""
    if container == "M4A":
        return sample_rate in _AAC_RATES and n_channels <= 6
    rate = written_rate(subtype, sample_rate)
    try:
        soundfile.write(io.BytesIO(), np.zeros((1, n_channels)), rate, subtype, format=container)
    except soundfile.LibsndfileError:
        return False
    return True
