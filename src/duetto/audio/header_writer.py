"""What a written file gets that libsndfile leaves out or gets wrong: channel masks, chunks, exact lengths.

Where the header has to grow, the encoder begins `Additions.n_bytes` later in the file, and the first part of
the header then moves to the front, so that nothing else is copied.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from duetto.audio.chunks import STORED_BITS

Chunk = tuple[bytes, bytes]
"""Name and content of a chunk of a WAV file."""

USUAL_MASKS = {1: 0x4, 2: 0x3}  # what one and two channels mean without a mask
WAV_KINDS = ("WAV", "RF64", "WAV or RF64")

_MOST = 2**20  # bytes of a header
_PCM_GUID = bytes.fromhex("000010008000 00aa00389b71")  # of KSDATAFORMAT_SUBTYPE_..., after the format's tag
_CHANNEL_BITMAP = 0x10000  # kAudioChannelLayoutTag_UseChannelBitmap
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Additions:
    """What the header of a file gets besides what libsndfile writes.

    Args:
        kind: What libsndfile calls the container.
        n_channels: Number of channels.
        channel_mask: Which loudspeakers they are for; 0 if that is not known.
        chunks: Of a WAV, each a name of 4 bytes and its content.
    """

    kind: str
    n_channels: int
    channel_mask: int = 0
    chunks: Sequence[Chunk] = ()

    @property
    def n_bytes(self) -> int:
        """By how much the header grows."""
        return len(self._inserted())

    def _inserted(self) -> bytes:
        mask = self.channel_mask
        if self.kind in WAV_KINDS:
            return b"".join(
                name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
                for name, content in self.chunks
            )
        if not mask or mask == USUAL_MASKS.get(self.n_channels):
            return b""
        if self.kind == "W64":  # the part of WAVEFORMATEXTENSIBLE that WAVEFORMATEX lacks; filled in later
            return struct.pack("<HHIH", 22, 0, mask, 0) + _PCM_GUID + bytes(2)
        if self.kind == "AIFF":
            return struct.pack(">4sIIII", b"CHAN", 12, _CHANNEL_BITMAP, mask, 0)
        if self.kind == "FLAC":  # where it is missing, FFmpeg puts the surround of 5.1 at the sides
            comment = f"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x{mask:x}".encode()
            return struct.pack("<I", len(comment)) + comment
        return b""

    def write(self, path: Path) -> None:
        """Complete the header of a finished file that begins with `n_bytes` bytes of room."""
        inserted = self._inserted()
        with path.open("r+b") as file:
            file.seek(len(inserted))
            header = bytearray(file.read(_MOST))
            end, inserted = _PLACES[self.kind](header, inserted) if inserted else (0, b"")
            file.seek(0)
            file.write(header[:end] + inserted)
            if self.kind in WAV_KINDS:
                _write_mask(file, self.channel_mask)


def _room_in_wav(header: bytearray, inserted: bytes) -> tuple[int, bytes]:
    """Before the samples; the size of the whole grows, in RF64 that in its first chunk."""
    if header[:4] == b"RF64":
        _add(header, 20, "<Q", len(inserted))
    else:
        _add(header, 4, "<I", len(inserted))
    return _find_chunk(header, b"data", "<"), inserted


def _room_in_aiff(header: bytearray, inserted: bytes) -> tuple[int, bytes]:
    _add(header, 4, ">I", len(inserted))
    return _find_chunk(header, b"SSND", ">"), inserted


def _room_in_w64(header: bytearray, inserted: bytes) -> tuple[int, bytes]:
    """After the description of the samples, which is the first chunk and becomes an extensible one."""
    _add(header, 16, "<Q", len(inserted))
    _add(header, 56, "<Q", len(inserted))
    (tag,), (bits,) = struct.unpack_from("<H", header, 64), struct.unpack_from("<H", header, 78)
    struct.pack_into("<H", header, 64, 0xFFFE)
    size, _, mask, _ = struct.unpack_from("<HHIH", inserted)
    return 80, struct.pack("<HHIHH", size, bits, mask, tag, 0) + _PCM_GUID


def _room_in_flac(header: bytearray, inserted: bytes) -> tuple[int, bytes]:
    """At the end of the Vorbis comments, of which there is one more."""
    place = 4
    while header[place] & 0x7F != 4:
        place += 4 + int.from_bytes(header[place + 1 : place + 4], "big")
    n_bytes = int.from_bytes(header[place + 1 : place + 4], "big")
    header[place + 1 : place + 4] = (n_bytes + len(inserted)).to_bytes(3, "big")
    (vendor,) = struct.unpack_from("<I", header, place + 4)
    _add(header, place + 8 + vendor, "<I", 1)
    return place + 4 + n_bytes, inserted


_PLACES = {
    "WAV": _room_in_wav, "RF64": _room_in_wav, "WAV or RF64": _room_in_wav, "W64": _room_in_w64,
    "AIFF": _room_in_aiff, "FLAC": _room_in_flac,
}  # fmt: skip


def _add(header: bytearray, place: int, form: str, number: int) -> None:
    (before,) = struct.unpack_from(form, header, place)
    struct.pack_into(form, header, place, before + number)


def _find_chunk(header: bytes | bytearray, name: bytes, order: str) -> int:
    """Where a chunk of a RIFF or IFF header begins; -1 where it has none."""
    place = 12
    while place + 8 <= len(header):
        found, size = struct.unpack_from(f"{order}4sI", header, place)
        if found in (name, b"data", b"SSND"):
            return place if found == name else -1
        place += 8 + size + size % 2
    return -1


def _write_mask(file: io.BufferedRandom, channel_mask: int) -> None:
    """Put the channel mask into a WAV that has a field for one; libsndfile puts a guess there."""
    file.seek(0)
    header = file.read(_MOST)
    place = _find_chunk(header, b"fmt ", "<")
    if struct.unpack_from("<H", header, place + 8) == (0xFFFE,):
        file.seek(place + 28)
        file.write(struct.pack("<I", channel_mask))


def mend(path: Path, kind: str, subtype: str, *, n_samples: int, n_channels: int) -> None:
    """Put right what libsndfile leaves wrong in a file that it has written.

    Args:
        path: The file.
        kind: What libsndfile calls its container.
        subtype: How its samples are coded.
        n_samples: How many were written per channel.
        n_channels: Number of channels.
    """
    if kind == "AIFF":
        _mend_aiff(path, n_samples * n_channels * STORED_BITS.get(subtype, 0) // 8, n_samples)
    elif "RF64" in kind:
        _mend_peak_time(path)
    elif kind == "OGG":
        _mend_ogg_serial(path)


def _mend_aiff(path: Path, n_bytes: int, n_samples: int) -> None:
    """Correct the lengths of a file of few samples, or of an odd number of bytes.

    The rest of a longer header, when no PEAK chunk is wanted, and the byte that pads count as samples.
    """
    with path.open("r+b") as file:
        header = file.read(_MOST)
        count, audio = _find_chunk(header, b"COMM", ">") + 10, _find_chunk(header, b"SSND", ">")
        if n_bytes == 0 or int.from_bytes(header[count : count + 4], "big") == n_samples:
            return
        end = audio + 16 + n_bytes + n_bytes % 2
        file.truncate(end)
        for place, number in ((4, end - 8), (count, n_samples), (audio + 4, n_bytes + 8)):
            file.seek(place)
            file.write(number.to_bytes(4, "big"))


def _mend_peak_time(path: Path) -> None:
    """Wipe the time of writing from the PEAK chunk, which RF64 files get even when it is switched off."""
    with path.open("r+b") as file:
        place = _find_chunk(file.read(_MOST), b"PEAK", "<")
        if place >= 0:
            file.seek(place + 12)
            file.write(bytes(4))


def _mend_ogg_serial(path: Path) -> None:
    """Give the stream the serial number 1: a random one would make the same song other bytes each time."""
    with path.open("r+b") as file:
        while len(head := file.read(27)) == 27:
            start = file.tell() - 27
            sizes = file.read(head[26])
            page = bytearray(head + sizes + file.read(sum(sizes)))
            page[14:18], page[22:26] = (1).to_bytes(4, "little"), bytes(4)
            page[22:26] = ogg_checksum(page).to_bytes(4, "little")
            file.seek(start)
            file.write(page)


def ogg_checksum(page: bytes | bytearray) -> int:
    """The checksum of an Ogg page whose own field of it is zero (RFC 3533, section 6).

    It is the CRC-32 of zlib with the bits of every byte in the opposite order, and without its complements.
    """
    register = ~zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int(f"{register:032b}"[::-1], 2)
