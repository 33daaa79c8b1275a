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


class Header(NamedTuple):
    """What a FLAC stream states: its depth in bits, and which loudspeakers its channels are for."""

    bits: int
    channel_mask: int


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
    mask = XIPH_MASKS[n_channels]
    file.seek(start + 4)
    last = False
    while not last and len(head := file.read(4)) == 4:
        (word,) = struct.unpack(">I", head)
        last, kind, size = bool(word >> 31), word >> 24 & 127, word & 0xFFFFFF
        if kind == _COMMENTS and (said := _MASK.search(file.read(size))):
            own = int(said[1], 16)
            return Header(bits, own if own.bit_count() == n_channels else mask)
        if kind != _COMMENTS:
            file.seek(size, 1)
    return Header(bits, mask)
