"""The chunks of WAV, RF64, BW64, W64 and AIFF: where the samples are, how coded, and how many are promised.

Sources: Microsoft's RIFF and WAVEFORMATEXTENSIBLE, EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Sony's Wave64,
Apple's AIFF-C.
"""

import io
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

MPEG_TAGS = (0x50, 0x55)
"""The format tags of WAV that hold MPEG audio: layers 1 and 2, and layer 3."""

MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM")
"""The first four bytes of the files that `read_chunks` reads."""

LONG_SIZE = 28
"""Where RF64 and BW64 have the size of the samples, in bytes from the start."""

STORED_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32,
    "FLOAT": 32, "DOUBLE": 64, "ULAW": 8, "ALAW": 8,
}  # fmt: skip
"""The bits that a sample takes, for the subtypes that are not coded in blocks."""

EXTENSIBLE = 0xFFFE
"""The format tag of a chunk that has the true one 24 bytes after it."""

_CHANNEL_BITMAP = 0x10000  # kAudioChannelLayoutTag_UseChannelBitmap
_LAYOUTS = {  # other kAudioChannelLayoutTag_... whose channels stand in the order of WAV
    108 << 16 | 4: 0x33, 113 << 16 | 3: 0x7, 115 << 16 | 4: 0x107, 117 << 16 | 5: 0x37, 121 << 16 | 6: 0x3F,
    125 << 16 | 7: 0x13F, 126 << 16 | 8: 0xFF, 128 << 16 | 8: 0x63F,
}  # fmt: skip


@dataclass(frozen=True)
class Chunks:
    """What the chunks of a file say.

    Attributes:
        start: Where the samples begin, in bytes; 0 where no chunk holds any.
        promised: How many bytes they take, as the header says.
        there: How many bytes there are from `start` to the end of the file.
        format_tag: How WAV codes them: 1 for integers, 3 for floats...; 0 for AIFF.
        format_at: Where the chunk begins that says so, in bytes; 0 where there is none.
        channel_mask: Which loudspeakers the channels are for, as WAV or AIFF says; 0 where neither does.
    """

    start: int = 0
    promised: int = 0
    there: int = 0
    format_tag: int = 0
    channel_mask: int = 0
    format_at: int = 0

    @property
    def streamed(self) -> bool:
        """Whether the size, just beside 2 or 4 GiB, was written before it was known, and promises nothing."""
        return self.promised > 2**30 and min(self.promised % 2**31, -self.promised % 2**31) <= 2**24 + 2**16

    def promised_samples(self, subtype: str, n_channels: int, n_samples: int) -> int:
        """How many samples the header promises; 0 where that cannot be told.

        Args:
            subtype: How they are coded, in libsndfile's words.
            n_channels: Number of channels.
            n_samples: How many libsndfile finds.
        """
        if self.streamed or self.promised <= 0:
            return 0
        stored_bits = STORED_BITS.get(subtype)
        if stored_bits:
            return self.promised * 8 // (stored_bits * n_channels)
        if self.promised <= self.there:
            return 0
        return self.promised * max(n_samples, 1) // max(self.there, 1)  # coded in blocks: by proportion


def read_chunks(file: BinaryIO, origin: int = 0) -> Chunks:
    """The chunks of a file that begins at byte `origin`."""
    file.seek(origin)
    magic, long_size, coding, format_at = file.read(4), 0, (0, 0), 0
    if magic == b"riff":  # W64: 16-byte names, sizes include the 24 bytes of the header
        layout, start, own, align = "<4s12xQ", 40, 24, 8
    else:
        layout, start, own, align = (">" if magic in (b"FORM", b"RIFX") else "<") + "4sI", 12, 0, 2
    length = file.seek(0, io.SEEK_END)
    file.seek(origin + start)
    while len(header := file.read(struct.calcsize(layout))) == struct.calcsize(layout):
        name, size = struct.unpack(layout, header)
        position, size = file.tell(), max(size - own, 0)
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            coding, format_at = _coding(file.read(24), layout[0]), position
        elif name == b"data":
            promised = long_size if magic in (b"RF64", b"BW64") else size
            return Chunks(position, promised, length - position, *coding, format_at)
        elif name == b"CHAN":
            coding = 0, _layout(file.read(8))
        elif name == b"SSND":  # its first 8 bytes are no audio
            return Chunks(position + 8, size - 8, length - position - 8, *coding)
        elif name == b"BODY":  # 8SVX and 16SV
            return Chunks(position, size, length - position)
        file.seek(min(position + size + -size % align, length))  # a damaged size overflows what seek takes
    return Chunks()


def end(file: BinaryIO, origin: int = 0) -> int:
    """Where a file that begins at byte `origin` ends, as it says itself."""
    file.seek(origin)
    header = file.read(28).ljust(28, b"\0")
    if header[:4] == b"riff":
        size = int.from_bytes(header[16:24], "little")
        return origin + size + -size % 8
    if header[12:16] == b"ds64":
        size = int.from_bytes(header[20:28], "little")
    else:
        size = int.from_bytes(header[4:8], "big" if header[:4] in (b"FORM", b"RIFX") else "little")
    return origin + 8 + size + size % 2


def chunks_follow(file: BinaryIO, position: int) -> bool:
    """Whether nothing but chunks of WAV lie between a position and the end of the file."""
    length = file.seek(0, io.SEEK_END)
    while position + 8 <= length:
        file.seek(position)
        name, size = struct.unpack("<4sI", file.read(8))
        if not name.isascii() or not name.decode("ascii").isprintable():
            return False
        position += 8 + size + size % 2
    return position <= length + 1


def _coding(content: bytes, order: str) -> tuple[int, int]:
    """The format tag and channel mask that a fmt chunk holds."""
    if len(content) < 16:
        return 0, 0
    (tag,) = struct.unpack_from(order + "H", content)
    mask = struct.unpack_from(order + "I", content, 20)[0] if tag == EXTENSIBLE and len(content) >= 24 else 0
    return tag, mask


def _layout(content: bytes) -> int:
    """The channel mask in a CHAN chunk of AIFF, where it holds one."""
    tag, mask = struct.unpack(">II", content.ljust(8, b"\0"))
    return mask if tag == _CHANNEL_BITMAP else _LAYOUTS.get(tag, 0)


def stated_samples(file: BinaryIO, container: str) -> int:
    """How many samples the header of a NIST or AVR file states, which libsndfile ignores; 0 for others."""
    file.seek(0)
    head = file.read(1024)
    if container == "NIST":
        said = re.search(rb"\nsample_count -i (\d{1,12})\s", head)
        return int(said[1]) if said else 0
    return int.from_bytes(head[26:30], "big") if container == "AVR" else 0
