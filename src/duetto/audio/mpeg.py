"""MPEG audio (MP1, MP2, MP3) as a series of frames: where they are, and whether a length tag is true.

Sources: ISO/IEC 11172-3, section 2.4.1.3 (header of a frame), ISO/IEC 13818-3, section 2.4.2.3 (half the
sample rates); the tags that Xing, LAME and Fraunhofer put into a frame of their own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import BinaryIO, NamedTuple

_KBPS = {  # by MPEG-1 or not, and layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # Hz, of MPEG-1
_SYNC = re.compile(rb"\xff(?=[\xe2-\xff])")
_CONFIRMED = 3  # frames in a row, which no other data look like
_HEAD = 64  # bytes of a frame in which a tag's name stands
_CHUNK = 65_536  # bytes
_LARGEST_GAP = 2**24  # bytes between frames, such as the cover of a joined file


class Format(NamedTuple):
    """What all frames of a stream have in common.

    Attributes:
        divisor: 1 for MPEG-1, 2 for MPEG-2, 4 for MPEG-2.5.
        layer: 1, 2 or 3.
        sample_rate: In Hz.
        n_channels: 1 or 2.
    """

    divisor: int
    layer: int
    sample_rate: int
    n_channels: int


@dataclass(frozen=True)
class Stream:
    """Frames that one encoder wrote: from the first or one with a length tag, up to the next such frame.

    Attributes:
        format: What its frames have in common.
        extents: Where its frames lie: start and stop of each run, in bytes.
        n_frames: Their number, without the frame of the tag.
        patches: What makes the tag true, by position; empty where it is, or there is none.
        tagged: Whether a tag tells its length.
    """

    format: Format
    extents: tuple[tuple[int, int], ...]
    n_frames: int
    patches: dict[int, bytes] = field(default_factory=dict)
    tagged: bool = False

    @property
    def n_bytes(self) -> int:
        """The bytes of its frames."""
        return sum(stop - start for start, stop in self.extents)


class _Run(NamedTuple):
    """Frames without a gap, a tag in none but the first."""

    format: Format
    start: int
    stop: int
    n_frames: int
    tag: bytes  # the first frame if it holds a tag, else nothing


def find_streams(file: BinaryIO, start: int, stop: int, *, within: int = _LARGEST_GAP) -> list[Stream]:
    """The streams between two positions of a file, in their order; empty where there are no frames.

    What lies between the frames, such as tags of a joined file, belongs to none.

    Args:
        file: The file.
        start: Where to begin, in bytes.
        stop: Where to end.
        within: How far from `start` the first frame may be, in bytes.
    """
    streams: list[Stream] = []
    for run in _runs(file, start, stop, within):
        last = streams[-1] if streams else None
        if last is None or run.tag or run.format != last.format:
            streams.append(Stream(run.format, ((run.start, run.stop),), run.n_frames))
            if run.tag:
                streams[-1] = replace(streams[-1], tagged=True, patches={run.start: run.tag})
        else:
            extents = (*last.extents, (run.start, run.stop))
            streams[-1] = replace(last, extents=extents, n_frames=last.n_frames + run.n_frames)
    return [_with_true_tag(stream) for stream in streams]


def _runs(file: BinaryIO, start: int, stop: int, within: int) -> Iterator[_Run]:
    previous: Format | None = None
    while (found := _next_sync(file, start, min(start + within, stop), stop, previous)) is not None:
        run = _run(file, found, stop)
        yield run
        start, previous, within = run.stop, run.format, _LARGEST_GAP


def _run(file: BinaryIO, start: int, stop: int) -> _Run:
    """The frames from `start` to the first gap, change of format or tag."""
    tag, n_frames, position, kind = b"", 0, start, None
    while position < stop:
        file.seek(position)
        head = file.read(_HEAD)
        frame = _frame(head[:4])
        if frame is None or (kind is not None and frame[1] != kind) or position + frame[0] > stop:
            break
        n_bytes, kind = frame
        if _tag_at(head, kind):
            if position > start:
                break
            file.seek(position)
            tag = file.read(n_bytes)
        else:
            n_frames += 1
        position += n_bytes
    assert kind is not None
    return _Run(kind, start, position, n_frames, tag)


def _next_sync(file: BinaryIO, start: int, limit: int, stop: int, previous: Format | None) -> int | None:
    """The next position before `limit` where frames begin: enough in a row, or up to `stop`."""
    while start < limit:
        file.seek(start)
        chunk = file.read(min(_CHUNK, limit - start))
        if len(chunk) < 4:
            return None
        for match in _SYNC.finditer(chunk, 0, len(chunk) - 1):
            if _begins(file, start + match.start(), stop, previous):
                return start + match.start()
        start += len(chunk) - 1
        if len(chunk) < _CHUNK:
            return None
    return None


def _begins(file: BinaryIO, position: int, stop: int, previous: Format | None) -> bool:
    """Whether frames of one format follow one another from here; two, where others were of that format."""
    kind: Format | None = None
    for n in range(_CONFIRMED):
        file.seek(position)
        head = file.read(4)
        if n and (position == stop or head[:3] in (b"TAG", b"APE", b"ID3", b"LYR")):
            return True
        frame = _frame(head)
        if frame is None or position + frame[0] > stop or kind not in (None, frame[1]):
            return False
        kind = frame[1]
        if n and kind == previous:
            return True
        position += frame[0]
    return True


def _frame(header: bytes) -> tuple[int, Format] | None:
    """The size in bytes and the format of the frame that begins so; None if none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    return _parsed(header[1], header[2], header[3] >> 6 == 3)


@lru_cache(maxsize=4096)
def _parsed(first: int, second: int, mono: bool) -> tuple[int, Format] | None:
    version, layer = first >> 3 & 3, 4 - (first >> 1 & 3)
    kbps_index, rate_index, padding = second >> 4, second >> 2 & 3, second >> 1 & 1
    if version == 1 or layer == 4 or kbps_index in (0, 15) or rate_index == 3:
        return None
    divisor = {3: 1, 2: 2, 0: 4}[version]
    kbps, rate = _KBPS[divisor == 1, layer][kbps_index - 1], _RATES[rate_index] // divisor
    if layer == 1:
        n_bytes = (12_000 * kbps // rate + padding) * 4
    else:
        n_bytes = (72_000 if layer == 3 and divisor > 1 else 144_000) * kbps // rate + padding
    return n_bytes, Format(divisor, layer, rate, 1 if mono else 2)


def _tag_at(frame: bytes, kind: Format) -> int:
    """Where in a frame its length tag begins; 0 where there is none."""
    if kind.layer != 3:
        return 0
    side = ((32, 17) if kind.divisor == 1 else (17, 9))[kind.n_channels == 1]
    if frame[36:40] == b"VBRI":
        return 36
    return next((at for at in (4 + side, 6 + side) if frame[at : at + 4] in (b"Xing", b"Info")), 0)


def _with_true_tag(stream: Stream) -> Stream:
    """The stream with its tag put right where it counts other frames than there are.

    The encoder's delay stays, since it is true of the first frames. The padding behind the last frame is
    missing where the file was cut off.
    """
    if not stream.tagged:
        return stream
    ((position, tag),) = stream.patches.items()
    at = _tag_at(tag, stream.format)
    vbri = tag[at : at + 4] == b"VBRI"
    flags = 0 if vbri or len(tag) < at + 8 else tag[at + 7]
    if not (vbri or flags & 1):  # a tag without a number of frames
        return replace(stream, patches={}, tagged=False)
    count = at + (14 if vbri else 8)
    stated = int.from_bytes(tag[count : count + 4], "big")
    patches = {}
    if flags & 2:  # the number of bytes, of whose difference mpg123 would warn on standard error
        patches[position + count + 4] = stream.n_bytes.to_bytes(4, "big")
    if 0 <= stated - stream.n_frames <= 1:  # some encoders count the frame of the tag
        return replace(stream, patches=patches)
    patches[position + count] = stream.n_frames.to_bytes(4, "big")
    lame = at + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
    delays = tag[lame + 21 : lame + 24]
    if not vbri and len(delays) == 3 and stream.n_frames < stated:
        patches[position + lame + 21] = bytes([delays[0], delays[1] & 0xF0, 0])
    return replace(stream, patches=patches)


def after_id3(file: BinaryIO) -> int:
    """Where a file goes on after the ID3 tags that it begins with, in bytes."""
    position = 0
    while True:
        file.seek(position)
        n_bytes = id3_bytes(file.read(10))
        if not n_bytes:
            return position
        position += n_bytes


def id3_bytes(head: bytes) -> int:
    """The size of the ID3 tag that begins with these 10 bytes, header and footer included; 0 if none does."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + size + 10 * (head[5] >> 4 & 1)
