"""Headers as they are read: how long a file that was cut off should be, where its audio begins."""

import io
import struct
from pathlib import Path
from typing import BinaryIO

import soundfile

STORED_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32,
    "FLOAT": 32, "DOUBLE": 64, "ULAW": 8, "ALAW": 8,
}  # fmt: skip


def promised_samples(path: Path, sound: soundfile.SoundFile) -> int:
    """How many samples the header of a cut-off WAV, RF64, W64 or AIFF file promises; 0 if it is whole.

    libsndfile shortens the length of a file that was cut off without a word.
    """
    with path.open("rb") as file:
        promised, there = audio_chunk(file)
    # Programs that stream write 0, or something just beside 2 or 4 GiB, before they know the size.
    streamed = promised > 2**30 and min(promised % 2**31, -promised % 2**31) <= 2**24 + 2**16
    if streamed or promised <= there:
        return 0
    stored_bits = STORED_BITS.get(sound.subtype)
    if stored_bits:
        return int(promised * 8 // (stored_bits * sound.channels))
    return int(promised * max(sound.frames, 1) // max(there, 1))  # coded in blocks: by proportion


def audio_chunk(file: BinaryIO) -> tuple[int, int]:
    """The size of the audio chunk in bytes: as its header says, and as the file holds. (0, 0) without one."""
    magic, long_size = file.read(4), 0
    if magic == b"riff":  # W64: 16-byte names, sizes include the 24 bytes of the header
        layout, start, own, align = "<4s12xQ", 40, 24, 8
    else:
        layout, start, own, align = (">" if magic in (b"FORM", b"RIFX") else "<") + "4sI", 12, 0, 2
    length = file.seek(0, io.SEEK_END)
    file.seek(start)
    while len(header := file.read(struct.calcsize(layout))) == struct.calcsize(layout):
        name, size = struct.unpack(layout, header)
        position, size = file.tell(), max(size - own, 0)
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data":
            return (long_size if magic == b"RF64" else size), length - position
        elif name == b"SSND":  # its first 8 bytes are no audio
            return size - 8, length - position - 8
        file.seek(min(position + size + -size % align, length))  # a damaged size overflows what seek takes
    return 0, 0


def after_id3(head: bytes) -> int:
    """Where the audio begins in a file of which `head` is the first 10 bytes or more: after an ID3 tag."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def has_length_tag(path: Path) -> bool:
    """Whether an MP3 says how long it is, in a Xing, Info or VBRI tag in its first frame."""
    with path.open("rb") as file:
        file.seek(after_id3(file.read(10)))
        first_frame = file.read(4096)
    return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))
