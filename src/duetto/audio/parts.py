"""The parts of a file that libsndfile decodes one after the other, and what it has to see of each.

Most files are one part as they stand. Joined MP3s, chained Ogg and joined FLAC are several; MPEG audio is its
frames without what lies between them; and some headers are shown other than they are.
"""

import io
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from duetto.audio import chunks, flac, mpeg, ogg, other_containers
from duetto.audio.channels import XIPH_MASKS, XIPH_ORDER
from duetto.errors import AudioError

_NEAR = 65_536  # bytes; a file whose first MPEG frame comes later is something else
_MOST = 0.5  # of a file of MPEG audio are frames
_DTS = (b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00", b"\xff\x1f\x00\xe8")
_CHUNK = 1 << 20  # bytes


_SIZED = dict.fromkeys(chunks.MAGICS, chunks.end) | {
    b"caff": other_containers.caf_end, b".snd": other_containers.au_end, b"dns.": other_containers.au_end,
}  # fmt: skip
"""The first four bytes of files that say where they end -> where that is."""


class NotDecodedError(AudioError):
    """A file that libsndfile cannot decode; its text says what the file is, where that is known."""


@dataclass(frozen=True)
class Part:
    """A part of a file.

    Attributes:
        extents: The start and stop of the ranges that it consists of, in bytes.
        patches: Bytes to show instead, by position.
        endless: Whether its length is a guess from its size, so that a far larger size has to be shown.
        unsure: Whether more or fewer samples may decode than libsndfile expects.
        container: What holds the part, where it is not what libsndfile sees; else "".
        order: Which of its channels is the first, second... in the order of WAV; None where they stand so.
        channel_mask: Which loudspeakers the channels are for; 0 where the file does not say.
    """

    extents: tuple[tuple[int, int], ...]
    patches: dict[int, bytes] = field(default_factory=dict)
    endless: bool = False
    unsure: bool = False
    container: str = ""
    order: tuple[int, ...] | None = None
    channel_mask: int = 0


def find_parts(file: BinaryIO) -> list[Part]:
    """The parts of a file.

    Raises:
        NotDecodedError: It holds what libsndfile cannot decode.
    """
    stop = file.seek(0, io.SEEK_END)
    start = mpeg.after_id3(file)
    file.seek(start)
    magic = file.read(4)
    if magic == b"OggS":
        return _ogg(file)
    if magic == b"fLaC":
        return _flac(file, start, stop)
    if magic in _SIZED:
        return _sized(file, start, stop)
    if magic == b"Crea" and other_containers.n_voc_blocks(file, start, stop) > 1:
        raise NotDecodedError("a VOC file of several blocks")
    return _mpeg(file, start, stop) or [Part(((0, stop),))]


def _ogg(file: BinaryIO) -> list[Part]:
    links = ogg.find_links(file)
    if not links or not all(link.codec for link in links):
        raise NotDecodedError("an Ogg file that holds neither Vorbis nor Opus")
    return [
        Part(
            link.extents,
            link.patches,
            unsure=True,
            order=XIPH_ORDER.get(link.n_channels) if link.ordered else None,
            channel_mask=XIPH_MASKS[link.n_channels] if link.ordered else 0,
        )
        for link in links
    ]


def _flac(file: BinaryIO, start: int, stop: int) -> list[Part]:
    starts = flac.find_streams(file, start) or [start]
    headers = [flac.read_header(file, each) for each in starts]
    for header in headers:
        if header.bits not in flac.DECODED_DEPTHS:
            raise NotDecodedError(f"a FLAC file of {header.bits} bits per sample")
    stops = [*starts[1:], stop]
    return [
        Part(
            ((first, last),), flac.length_patches(file, first, last, header), channel_mask=header.channel_mask
        )
        for first, last, header in zip(starts, stops, headers, strict=True)
    ]


def _sized(file: BinaryIO, start: int, stop: int) -> list[Part]:
    """The parts of a file that says where it ends; several where others begin there."""
    parts = []
    while start < stop:
        file.seek(start)
        magic = file.read(4)
        end = _SIZED[magic](file, start)
        file.seek(min(end, stop))
        end = end if start < end < stop and file.read(4) in _SIZED else stop
        if magic in chunks.MAGICS:
            parts += _chunked(file, start, end)
        elif magic == b"caff":
            parts.append(Part(((start, end),), other_containers.caf_patches(file, start, end)))
        else:
            parts.append(Part(((start, end),), other_containers.au_patches(file, start, end)))
        start = end
    return parts


def _chunked(file: BinaryIO, start: int, stop: int) -> list[Part]:
    found = chunks.read_chunks(file, start)
    if found.format_tag in chunks.MPEG_TAGS and found.start:
        size = found.there if found.streamed or found.promised == 0 else min(found.promised, found.there)
        streams = mpeg.find_streams(file, found.start, found.start + size)
        if not streams:
            raise NotDecodedError("a WAV file that says it holds MPEG audio")
        return [replace(_mpeg_part(stream), container="WAV") for stream in streams]
    if found.start:
        file.seek(found.start)
        if file.read(4) in _DTS:
            raise NotDecodedError("a WAV file that holds DTS")
    patches = {}
    file.seek(start)
    magic, size = file.read(4), int.from_bytes(file.read(4), "little")
    if magic == b"BW64":
        patches[start] = b"RF64"  # the two differ in chunks that do not concern the samples
    if magic == b"riff" and found.format_tag == chunks.EXTENSIBLE:
        # libsndfile takes the samples of any extensible W64 for integers.
        file.seek(found.format_at + 24)
        patches[found.format_at] = file.read(2)
    unfilled = found.start and found.promised == 0 and found.there
    if unfilled and (size <= found.start - 8 or not chunks.chunks_follow(file, found.start)):
        # Its writer never filled in the size. libsndfile takes the 0 at its word and finds no samples.
        if magic == b"RIFF":
            patches[found.start - 4] = b"\xff\xff\xff\xff"
        elif magic in (b"RF64", b"BW64"):
            patches[start + chunks.LONG_SIZE] = found.there.to_bytes(8, "little")
    return [Part(((start, stop),), patches, channel_mask=found.channel_mask)]


def _mpeg(file: BinaryIO, start: int, stop: int) -> list[Part]:
    """The parts of a file of MPEG audio; empty for any other file."""
    start = _after_zeros(file, start)
    streams = mpeg.find_streams(file, start, stop, within=_NEAR)
    begins_so = bool(streams) and streams[0].extents[0][0] == start
    if begins_so or sum(stream.n_bytes for stream in streams) >= _MOST * (stop - start):
        return [_mpeg_part(stream) for stream in streams]
    return []


def _mpeg_part(stream: mpeg.Stream) -> Part:
    return Part(stream.extents, stream.patches, endless=not stream.tagged, unsure=True)


def _after_zeros(file: BinaryIO, position: int) -> int:
    file.seek(position)
    while chunk := file.read(_CHUNK):
        if rest := chunk.lstrip(b"\0"):
            return position + len(chunk) - len(rest)
        position += len(chunk)
    return position
