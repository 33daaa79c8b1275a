"""Files that common encoders do not write: joined, re-wrapped, of odd depths."""

import struct
from pathlib import Path

import numpy as np
import soundfile

from duetto.audio.ogg import checksum


def mp3_bytes(path: Path, samples: np.ndarray, sample_rate: int = 44_100, *, constant: bool = False) -> bytes:
    """An MP3 as libsndfile writes it, with a length tag in its first frame.

    Args:
        path: Where it is written.
        samples: (n_channels, n_samples) floats.
        sample_rate: Hertz.
        constant: Whether the bit rate is constant.
    """
    mode = "CONSTANT" if constant else "VARIABLE"
    form = {"format": "MP3", "bitrate_mode": mode, "compression_level": 0.5}
    with soundfile.SoundFile(path, "w", sample_rate, len(samples), "MPEG_LAYER_III", **form) as file:
        file.write(samples.T)
    return path.read_bytes()


def without_tag_frame(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which holds the length tag."""
    tag = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    return mp3[mp3.index(mp3[:2], tag) :]


def in_wav(mp3: bytes, sample_rate: int, n_channels: int) -> bytes:
    """MPEG frames as the samples of a WAV file, format tag 0x55."""
    form = struct.pack("<HHIIHHH", 0x55, n_channels, sample_rate, 16_000, 1, 0, 12) + bytes(12)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(mp3)) + mp3 + bytes(len(mp3) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def ogg_pages(data: bytes) -> list[bytearray]:
    """The pages of an Ogg file."""
    pages, at = [], 0
    while at < len(data):
        n_segments = data[at + 26]
        stop = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        pages.append(bytearray(data[at:stop]))
        at = stop
    return pages


def sealed(page: bytearray) -> bytes:
    """A page with its checksum."""
    page[22:26] = bytes(4)
    page[22:26] = checksum(page).to_bytes(4, "little")
    return bytes(page)


def with_serial(data: bytes, serial: int) -> bytes:
    """An Ogg file whose stream has another serial number."""
    pages = ogg_pages(data)
    for page in pages:
        page[14:18] = serial.to_bytes(4, "little")
    return b"".join(map(sealed, pages))


def verbatim_flac(samples: np.ndarray, bits: int, sample_rate: int = 44_100) -> bytes:
    """A FLAC file of any depth from 4 to 32 bits, its samples not compressed (RFC 9639, sections 8 and 9).

    Args:
        samples: (n_channels, n_samples) integers, at most 65535 samples.
        bits: Depth.
        sample_rate: Hertz.
    """
    n_channels, n_samples = samples.shape
    rate_and_depth = sample_rate << 44 | n_channels - 1 << 41 | bits - 1 << 36 | n_samples
    info = struct.pack(">HH", n_samples, n_samples) + bytes(6) + rate_and_depth.to_bytes(8, "big") + bytes(16)
    header = bytes([0xFF, 0xF8, 0x70, n_channels - 1 << 4, 0]) + struct.pack(">H", n_samples - 1)
    header += bytes([_crc(header, 0x107, 8)])
    words = samples.astype(np.int64) & (1 << bits) - 1
    stream = "".join("00000010" + "".join(f"{word:0{bits}b}" for word in channel) for channel in words)
    stream += "0" * (-len(stream) % 8)
    frame = header + int(stream, 2).to_bytes(len(stream) // 8, "big")
    return b"fLaC\x80\0\0\x22" + info + frame + _crc(frame, 0x18005, 16).to_bytes(2, "big")


def _crc(data: bytes, polynomial: int, width: int) -> int:
    register = 0
    for byte in data:
        register ^= byte << width - 8
        for _ in range(8):
            register <<= 1
            if register >> width:
                register ^= polynomial
    return register
