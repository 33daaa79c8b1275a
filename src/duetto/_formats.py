"""What a file's audio is, what a container can hold, and which format the stems of a file get."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from duetto.errors import AudioError

EXTENSIONS = {
    "RF64": ".wav", "WAV": ".wav", "W64": ".w64", "FLAC": ".flac", "AIFF": ".aiff",
    "OGG": ".ogg", "OPUS": ".opus", "MP3": ".mp3",
}  # fmt: skip
"""The extension of each container. OPUS is OGG that holds the subtype OPUS."""

CONTAINERS = {extension: container for container, extension in EXTENSIONS.items()} | {".aif": "AIFF"}
"""The container of each extension."""

_DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "DWVW_24": 24} | dict.fromkeys(
    ("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "DWVW_12", "DWVW_16",
     "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), 16
)  # fmt: skip
_LIMITS = {
    "MP3": "1 or 2 channels at 8, 11.025, 12, 16, 22.05, 24, 32, 44.1 or 48 kHz",
    "OPUS": "8, 12, 16, 24 or 48 kHz",
    "FLAC": "1 to 8 channels, and above 65.535 kHz only multiples of 10 Hz",
}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about its audio.

    Attributes:
        sample_rate: In Hz.
        n_channels: Number of channels.
        n_samples: Samples per channel. The length that an MP3's tag states may exceed what can be decoded.
        container: A key of `EXTENSIONS`; OGG for Vorbis and Opus alike.
        subtype: How a sample is coded, in libsndfile's words: PCM_16, FLOAT, VORBIS...
    """

    sample_rate: int
    n_channels: int
    n_samples: int
    container: str
    subtype: str

    @property
    def bits(self) -> int | None:
        """Integer depth; None for floating-point and lossy audio. Companded integers count as 16 bits."""
        return depth(self.subtype)

    @property
    def lossy(self) -> bool:
        """Whether the coding is Vorbis, Opus or MPEG."""
        return self.bits is None and self.subtype not in ("FLOAT", "DOUBLE")


def depth(subtype: str) -> int | None:
    """The integer depth of a subtype in bits; None where its samples are floats."""
    return _DEPTHS.get(subtype)


def own_name(container: str) -> str:
    """What libsndfile calls a container."""
    return "OGG" if container == "OPUS" else container


def output_format(
    info: AudioInfo, *, container: str | None = None, subtype: str | None = None
) -> tuple[str, str]:
    """The format that the stems of a file get.

    By default a lossless file's own; companded and ADPCM audio become PCM_16, lossy audio WAV FLOAT. A
    container that cannot hold the file's depth gets the deepest that it can.

    Args:
        info: The file that was separated.
        container: A key of `EXTENSIONS`, if not the default.
        subtype: A subtype, if not the default; without `container`, WAV if the file's cannot hold it.

    Returns:
        Container and subtype for `AudioWriter`; OPUS comes back as ("OGG", "OPUS").

    Raises:
        AudioError: The container or subtype is unknown, or cannot hold the subtype, sample rate or channels.
    """
    if container is None:
        container = "WAV" if info.lossy else info.container
        if subtype is not None and not soundfile.check_format(container, subtype):
            container = "WAV"
    if container not in EXTENSIONS:
        raise AudioError(f"container {container!r} is unknown; allowed: {', '.join(EXTENSIONS)}")
    if subtype is None:
        subtype = "OPUS" if container == "OPUS" else _default_subtype(info, container)
    check_holds(container, subtype, info.sample_rate, info.n_channels)
    return own_name(container), subtype


def _default_subtype(info: AudioInfo, container: str) -> str:
    """The subtype of `container` that keeps most of what the file holds."""
    if info.bits is None:
        own = "FLOAT" if info.lossy else info.subtype
    else:
        own = info.subtype if info.subtype.startswith("PCM_") else f"PCM_{info.bits}"
    other_sign = {"PCM_U8": "PCM_S8", "PCM_S8": "PCM_U8"}.get(own, own)
    candidates = (own, other_sign, "PCM_24", soundfile.default_subtype(container))
    return next(subtype for subtype in candidates if soundfile.check_format(container, subtype))


def check_holds(container: str, subtype: str, sample_rate: int, n_channels: int) -> None:
    """Refuse what a container cannot hold.

    Raises:
        AudioError: It cannot hold this subtype, or not at this sample rate in Hz and channel count.
    """
    name = own_name(container)
    if container not in EXTENSIONS or not soundfile.check_format(name, subtype):
        subtypes = ", ".join(soundfile.available_subtypes(name)) if container in EXTENSIONS else "none"
        raise AudioError(
            f"{container} cannot hold {subtype}; allowed: {subtypes}; or choose another container"
        )
    if not _can_hold(name, subtype, sample_rate, n_channels):
        limits = _LIMITS.get(
            "OPUS" if subtype == "OPUS" else container, "other sample rates or channel counts"
        )
        raise AudioError(
            f"{container} {subtype} cannot hold {n_channels} channels at {sample_rate} Hz; "
            f"allowed: {limits}; choose another container, such as WAV"
        )


def _can_hold(container: str, subtype: str, sample_rate: int, n_channels: int) -> bool:
    """Whether a container and subtype can hold audio of this rate and channel count: one sample is tried."""
    try:
        soundfile.write(io.BytesIO(), np.zeros((1, n_channels)), sample_rate, subtype, format=container)
    except soundfile.LibsndfileError:
        return False
    return True
