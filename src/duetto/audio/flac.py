"""What a FLAC file says before its frames, and whether it is several files joined.

Source: RFC 9639, sections 6 and 8.
"""

import re
import struct
from typing import BinaryIO, NamedTuple

from duetto.audio.channels import XIPH_MASKS

DECODED_DEPTHS = (8, 16, 24)
"""The depths in bits that libsndfile decodes; the format has 4 to 32."""

_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # the marker, and the header of the block STREAMINFO
_CHUNK = 1 << 20  # bytes
_COMMENTS = 4  # the type of a block of Vorbis comments
_MASK = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9a-f]{1,8})", re.IGNORECASE)


_FRAME = re.compile(rb"\xff[\xf8\xf9]")
_TAIL = 1 << 17  # bytes in which the last frame begins
_NO_LENGTH = bytes(4)


class Header(NamedTuple):
    """What a FLAC stream states.

    Attributes:
        bits: Its depth.
        channel_mask: Which loudspeakers its channels are for.
        n_samples: Its length; 0 where that is unknown.
        block_size: Samples of a frame, if all but the last have as many.
    """

    bits: int
    channel_mask: int
    n_samples: int
    block_size: int


def find_streams(file: BinaryIO, start: int) -> list[int]:
    """Where FLAC streams begin, from the one at `start` on; several where files were joined."""
    found, kept, position = [], b"", start
    file.seek(start)
    while chunk := file.read(_CHUNK):
        data = kept + chunk
        found += [position - len(kept) + match.start() for match in _START.finditer(data)]
        kept, position = data[-7:], position + len(chunk)
    return found


def read_header(file: BinaryIO, start: int) -> Header:
    """The header of the stream that begins at `start`."""
    file.seek(start + 8)
    info = file.read(34)
    packed = int.from_bytes(info[10:14].ljust(4, b"\0"), "big")
    n_channels, bits = (packed >> 9 & 7) + 1, (packed >> 4 & 31) + 1
    length, block_size = int.from_bytes(info[13:18], "big") & 2**36 - 1, int.from_bytes(info[:2], "big")
    mask = XIPH_MASKS[n_channels]
    file.seek(start + 4)
    last = False
    while not last and len(head := file.read(4)) == 4:
        (word,) = struct.unpack(">I", head)
        last, kind, size = bool(word >> 31), word >> 24 & 127, word & 0xFFFFFF
        if kind == _COMMENTS and (said := _MASK.search(file.read(size))):
            own = int(said[1], 16)
            mask = own if own.bit_count() == n_channels else mask
        if kind != _COMMENTS:
            file.seek(size, 1)
    return Header(bits, mask, length, block_size)


def length_patches(file: BinaryIO, start: int, stop: int, header: Header) -> dict[int, bytes]:
    """What hides the length of the stream between two positions if its last frames number more samples.

    Other bytes may look like a frame, so what this finds is only a reason to count the samples.
    """
    first = max(start, stop - _TAIL)
    file.seek(first)
    tail = file.read(stop - first)
    if header.n_samples and any(
        _last_sample(tail[match.start() : match.start() + 16], header) > header.n_samples
        for match in _FRAME.finditer(tail)
    ):
        file.seek(start + 21)
        return {start + 21: bytes([file.read(1)[0] & 0xF0]), start + 22: _NO_LENGTH}
    return {}


def _last_sample(frame: bytes, header: Header) -> int:
    """How many samples of the stream end with the frame that begins so; 0 if none does."""
    n_more = next((n for n in range(7) if not frame[4] << n & 0x80), 7) if len(frame) == 16 else 7
    code = frame[2] >> 4 if len(frame) == 16 else 0
    if n_more in (1, 7) or code == 0 or frame[3] & 1:
        return 0
    number, position = frame[4] & 0x7F >> n_more, 5
    for byte in frame[5 : 4 + n_more]:
        number, position = number << 6 | byte & 0x3F, position + 1
    if code in (6, 7):
        n_samples = int.from_bytes(frame[position : position + code - 5], "big") + 1
        position += code - 5
    else:
        n_samples = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    position += {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)
    if _crc8(frame[:position]) != frame[position]:
        return 0
    return n_samples + number * (1 if frame[1] & 1 else header.block_size)


def _crc8(data: bytes) -> int:
    register = 0
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register << 1 ^ 0x107 if register & 0x80 else register << 1
    return register
