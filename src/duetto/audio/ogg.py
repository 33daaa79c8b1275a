"""Ogg as a series of pages: its links, one after the other, and the stream of audio in each.

Sources: RFC 3533 (pages), RFC 7845 (Opus), the Vorbis I specification, section 4.2.2 (identification header).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

OPUS_RATE = 48_000  # Hz, at which every Opus stream is played (RFC 7845, section 5.1)

_HEADER = 27  # bytes of a page before its table of segments
_CHUNK = 65_536  # bytes


class Page(NamedTuple):
    """A page: the bytes where it, its body and the next page begin; its flags and serial number."""

    start: int
    body: int
    stop: int
    flags: int
    serial: int

    @property
    def begins_stream(self) -> bool:
        """Whether a stream begins with this page."""
        return bool(self.flags & 2)


@dataclass(frozen=True)
class Link:
    """The stream of audio in one link of a chain; most files are one link.

    Attributes:
        codec: "VORBIS", "OPUS", or "" for a link that holds neither.
        sample_rate: In Hz, as it is played.
        n_channels: Number of channels.
        ordered: Whether the channels have places, and stand in the order of Vorbis.
        extents: Where its pages lie: start and stop of each run, in bytes.
        patches: The bytes that libsndfile has to see instead, by position.
    """

    codec: str
    sample_rate: int = 0
    n_channels: int = 0
    ordered: bool = False
    extents: tuple[tuple[int, int], ...] = ()
    patches: dict[int, bytes] = field(default_factory=dict)


def find_links(file: BinaryIO) -> list[Link]:
    """The links of an Ogg file, in their order."""
    groups: list[list[Page]] = []
    beginning = False
    for page in pages(file):
        if page.begins_stream and not beginning:
            groups.append([])
        beginning = page.begins_stream
        if groups:
            groups[-1].append(page)
    return [_link(file, group) for group in groups]


def pages(file: BinaryIO) -> Iterator[Page]:
    """The pages of a file; what lies between them is stepped over."""
    position, end = 0, file.seek(0, io.SEEK_END)
    while position + _HEADER <= end:
        file.seek(position)
        head = file.read(_HEADER + 255)
        if head[:5] != b"OggS\0":
            position = _next_page(file, position + 1)
            continue
        body = position + _HEADER + head[26]
        stop = body + sum(head[_HEADER : _HEADER + head[26]])
        if stop > end:  # cut off
            return
        yield Page(position, body, stop, head[5], int.from_bytes(head[14:18], "little"))
        position = stop


def _next_page(file: BinaryIO, position: int) -> int:
    """Where the next page begins, or the end of the file."""
    file.seek(position)
    while chunk := file.read(_CHUNK):
        found = chunk.find(b"OggS\0")
        if found >= 0:
            return position + found
        if len(chunk) < _CHUNK:
            return position + len(chunk)
        position += len(chunk) - 4
        file.seek(position)
    return position


def _link(file: BinaryIO, group: list[Page]) -> Link:
    for first in group:
        if not first.begins_stream:
            break
        file.seek(first.start)
        page = file.read(first.stop - first.start)
        packet = page[first.body - first.start :]
        if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
            n_channels, rate = packet[11], int.from_bytes(packet[12:16], "little")
            ordered = 2 < n_channels <= 8
            return Link("VORBIS", rate, n_channels, ordered, _extents(group, first.serial))
        if packet[:8] == b"OpusHead" and len(packet) >= 19:
            n_channels, family = packet[9], packet[18]
            ordered = family == 1 and 2 < n_channels <= 8
            patches = _at_48_khz(first, page)
            return Link("OPUS", OPUS_RATE, n_channels, ordered, _extents(group, first.serial), patches)
    return Link("")


def _extents(group: list[Page], serial: int) -> tuple[tuple[int, int], ...]:
    """Where the pages of one stream lie, neighbours joined."""
    extents: list[tuple[int, int]] = []
    for page in group:
        if page.serial != serial:
            continue
        if extents and extents[-1][1] == page.start:
            extents[-1] = extents[-1][0], page.stop
        else:
            extents.append((page.start, page.stop))
    return tuple(extents)


def _at_48_khz(first: Page, page: bytes) -> dict[int, bytes]:
    """The header of Opus with 48 kHz; libsndfile takes the rate of what was encoded for that of playing."""
    rate = first.body - first.start + 12
    changed = bytearray(page)
    changed[rate : rate + 4] = OPUS_RATE.to_bytes(4, "little")
    changed[22:26] = bytes(4)
    changed[22:26] = checksum(changed).to_bytes(4, "little")
    return {first.start + 22: bytes(changed[22:26]), first.start + rate: bytes(changed[rate : rate + 4])}


def checksum(page: bytes | bytearray) -> int:
    """The checksum of a page whose checksum field is zero (RFC 3533, section 6: CRC-32, not reflected)."""
    register = 0
    for byte in page:
        register = register << 8 & 0xFFFFFFFF ^ _CRC[register >> 24 ^ byte]
    return register


def _crc_of(byte: int) -> int:
    register = byte << 24
    for _ in range(8):
        register = register << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if register >> 31 else 0)
    return register


_CRC = [_crc_of(byte) for byte in range(256)]
