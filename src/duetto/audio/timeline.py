"""The chunks of a WAV that tell an audio workstation where the sound belongs: bext, iXML, cue, adtl, smpl.

Sources: EBU Tech 3285 (bext), the iXML specification, Microsoft's Multimedia Programming Interface and Data
Specifications (cue, adtl), the Multimedia Data Standards Update (smpl).
"""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from duetto.audio.header_writer import Chunk

_LARGEST = 2**24  # bytes of a chunk that is carried
_TIME_REFERENCE, _UMID, _LOUDNESS = 338, slice(348, 412), slice(412, 422)  # bytes of bext
_NOT_MEASURED = b"\xff\x7f"
_CLOCKS = (
    (rb"TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO", rb"TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI"),
    (rb"BWF_TIME_REFERENCE_LOW", rb"BWF_TIME_REFERENCE_HIGH"),
)


def timeline_chunks(song: Path | BinaryIO, *, start: int, stop: int) -> tuple[Chunk, ...]:
    """What of these chunks a stem of the samples `start` to `stop` gets; none from a file that is no WAV.

    Times are moved to the new beginning, and markers and loops outside of the part are left out. What is true
    of the song's sound alone, its unique identifier and its loudness, is marked as unknown.
    """
    with ExitStack() as stack:
        file = stack.enter_context(song.open("rb")) if isinstance(song, Path) else song
        found = [
            (name, content) for name, content in _chunks(file) if name in _CUT or _is_labels(name, content)
        ]
    kept = [(name, _CUT[name](content, start, stop)) for name, content in found if name in _CUT]
    cues = {each[0] for name, content in kept if name == b"cue " for each in _cues(content)}
    kept += [(name, _labels(content, cues)) for name, content in found if name == b"LIST"]
    return tuple((name, content) for name, content in kept if content)


def _chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a WAV or RF64 file; of the large ones, such as the samples, no content."""
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    length, data_size = file.seek(0, io.SEEK_END), 0
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        position = file.tell()
        if name == b"data" and head[:4] != b"RIFF":
            size = data_size
        content = file.read(size) if name != b"data" and size <= min(_LARGEST, length - position) else b""
        if name == b"ds64" and len(content) >= 16:
            data_size = int.from_bytes(content[8:16], "little")
        yield name, content
        file.seek(min(position + size + size % 2, length))


def _is_labels(name: bytes, content: bytes) -> bool:
    return name == b"LIST" and content[:4] == b"adtl"


def _cut_bext(content: bytes, start: int, stop: int) -> bytes:
    if len(content) < 602:
        return b""
    changed = bytearray(content)
    (clock,) = struct.unpack_from("<Q", content, _TIME_REFERENCE)
    struct.pack_into("<Q", changed, _TIME_REFERENCE, (clock + start) % 2**64)
    changed[_UMID] = bytes(64)
    if changed[346:348] >= b"\2\0":  # since version 2
        changed[_LOUDNESS] = 5 * _NOT_MEASURED
    return bytes(changed) + bytes(len(content) % 2)  # of an odd length libsndfile loses its place in RF64


def _cut_ixml(content: bytes, start: int, stop: int) -> bytes:
    for low, high in _CLOCKS:
        found = [re.search(rb"(<" + name + rb">\s*)(\d+)(\s*<)", content) for name in (low, high)]
        if found[0] is None:
            continue
        clock = int(found[0][2]) + start + (int(found[1][2]) << 32 if found[1] else 0)
        numbers = zip((low, high), (clock & 0xFFFFFFFF, clock >> 32), strict=True)
        for name, number in numbers:
            content = re.sub(rb"(<" + name + rb">\s*)\d+(\s*<)", rb"\g<1>%d\g<2>" % number, content)
    return content


def _cues(content: bytes) -> list[tuple[int, int, bytes, int, int, int]]:
    """The cue points: number, position, chunk, start of that chunk, start of the block, sample."""
    count = min(int.from_bytes(content[:4], "little"), (len(content) - 4) // 24)
    return [struct.unpack_from("<II4sIII", content, 4 + 24 * k) for k in range(count)]


def _cut_cue(content: bytes, start: int, stop: int) -> bytes:
    cues = [
        struct.pack("<II4sIII", number, max(position - start, 0), chunk, chunk_start, block, sample - start)
        for number, position, chunk, chunk_start, block, sample in _cues(content)
        if start <= sample < stop
    ]
    return struct.pack("<I", len(cues)) + b"".join(cues) if cues else b""


def _labels(content: bytes, cues: set[int]) -> bytes:
    """The labels, notes and texts of those cue points that are left."""
    kept, place = b"", 4
    while place + 12 <= len(content):
        _, size, cue = struct.unpack_from("<4sII", content, place)
        end = place + 8 + size + size % 2
        if cue in cues:
            kept += content[place:end].ljust(end - place, b"\0")
        place = end
    return b"adtl" + kept if kept else b""


def _cut_smpl(content: bytes, start: int, stop: int) -> bytes:
    """The description of a sampler's instrument, and its loops."""
    if len(content) < 36:
        return b""
    count = min(int.from_bytes(content[28:32], "little"), (len(content) - 36) // 24)
    loops = [list(struct.unpack_from("<6I", content, 36 + 24 * k)) for k in range(count)]
    kept = [
        struct.pack("<6I", cue, kind, first - start, last - start, *others)
        for cue, kind, first, last, *others in loops
        if start <= first <= last < stop
    ]
    return (
        content[:28]
        + struct.pack("<I", len(kept))
        + content[32:36]
        + b"".join(kept)
        + content[36 + 24 * count :]
    )


_CUT = {b"bext": _cut_bext, b"iXML": _cut_ixml, b"cue ": _cut_cue, b"smpl": _cut_smpl}
