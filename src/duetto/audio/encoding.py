"""How a compressed file is coded: bit rate and quality in the words of its encoder."""

from typing import Any

from duetto.errors import ConfigError

_FLAC_LEVEL = 4 / 8  # libFLAC's own 5 takes a quarter longer for files 1 % smaller
_OPUS_KBPS = 6, 256  # per channel, at libsndfile's compression levels 1 and 0


def encoder_settings(
    container: str,
    *,
    sample_rate: int,
    n_channels: int,
    bitrate_kbps: float | None = None,
    quality: float | None = None,
) -> dict[str, Any]:
    """What `AudioWriter` takes as its settings.

    Args:
        container: A key of `EXTENSIONS`, OPUS for Ogg that holds Opus.
        sample_rate: In Hz.
        n_channels: Number of channels.
        bitrate_kbps: Of MP3, Opus or M4A; MP3 takes the nearest that it has.
        quality: 0 to 10: of MP3 and Ogg Vorbis, whose bit rate then follows the music; how hard FLAC tries.

    Raises:
        ConfigError: The container has no such setting, or not so high or low a bit rate.
    """
    if bitrate_kbps is not None:
        lowest, highest = _bitrates(container, sample_rate, n_channels)
        if not lowest <= bitrate_kbps <= highest:
            raise ConfigError(
                f"bitrate_kbps={bitrate_kbps:g}: allowed for {container} with {n_channels} channels at "
                f"{sample_rate} Hz: {lowest} to {highest} kbit/s"
            )
        if container == "M4A":
            return {"bitrate_kbps": bitrate_kbps}
        level = (highest - bitrate_kbps) / (highest - lowest)
        return {"compression_level": _below_1(level)} | (
            {"bitrate_mode": "CONSTANT"} if container == "MP3" else {}
        )
    if quality is not None:
        if container not in ("MP3", "OGG", "FLAC"):
            raise ConfigError(f"quality={quality:g}: {container} has no such setting; MP3, OGG and FLAC have")
        level = quality / 10 if container == "FLAC" else 1 - quality / 10
        return {"compression_level": _below_1(level)} | (
            {"bitrate_mode": "VARIABLE"} if container == "MP3" else {}
        )
    return {"compression_level": _FLAC_LEVEL} if container == "FLAC" else {}


def _bitrates(container: str, sample_rate: int, n_channels: int) -> tuple[int, int]:
    """The lowest and highest bit rate in kbit/s, where libsndfile's compression level is 1 and 0."""
    if container == "MP3":
        return (32, 320) if sample_rate >= 32_000 else (8, 160) if sample_rate >= 16_000 else (8, 64)
    if container == "OPUS":
        return _OPUS_KBPS[0] * n_channels, _OPUS_KBPS[1] * n_channels
    if container == "M4A":
        return 8 * n_channels, 256 * n_channels
    raise ConfigError(f"a bit rate cannot be set for {container}; MP3, Opus and M4A have one")


def _below_1(level: float) -> float:
    return min(level, 0.9999)  # LAME's lowest quality lies just below 10
