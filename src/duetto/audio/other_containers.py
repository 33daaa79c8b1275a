"""CAF, AU and VOC: what libsndfile has to be shown instead of sizes that are not those of the samples.

Sources: Apple's Core Audio Format specification, Sun's audio header, Creative's VOC.
"""

import struct
from typing import BinaryIO

_UNKNOWN = b"\xff\xff\xff\xff"
_FAR = 2**40  # bytes
_SOUND_BLOCKS = (1, 2, 9)  # types of VOC blocks that hold samples


def caf_end(file: BinaryIO, start: int) -> int:
    """Where the CAF that begins at `start` ends; far behind its end where it does not say."""
    position, size = _last_caf_chunk(file, start)
    return position + 12 + (size if size >= 0 else _FAR)


def caf_patches(file: BinaryIO, start: int, stop: int) -> dict[int, bytes]:
    """The size of samples that were written before their number was known.

    It is -1, which the format allows where the samples come last; libsndfile does not.
    """
    position, size = _last_caf_chunk(file, start)
    return {position + 4: struct.pack(">q", stop - position - 12)} if size == -1 else {}


def _last_caf_chunk(file: BinaryIO, start: int) -> tuple[int, int]:
    """The position and size of the last chunk; a size below 0 is none."""
    position, size = start, -4  # the header of the file is 8 bytes, that of a chunk 12
    while True:
        following = position + 12 + size
        file.seek(following)
        header = file.read(12)
        if len(header) < 12 or header[:4] == b"caff":
            return position, size
        position, (size,) = following, struct.unpack(">4xq", header)
        if size < 0 or position + size > _FAR:
            return position, size


def au_end(file: BinaryIO, start: int) -> int:
    """Where the AU file that begins at `start` ends, as it says itself."""
    file.seek(start)
    header = file.read(12).ljust(12, b"\0")
    offset, size = struct.unpack(">II" if header[:1] == b"." else "<II", header[4:])
    return start + offset + size


def au_patches(file: BinaryIO, start: int, stop: int) -> dict[int, bytes]:
    """A size that leaves out samples, of which an AU file has nothing but its header else."""
    return {start + 8: _UNKNOWN} if au_end(file, start) < stop else {}


def n_voc_blocks(file: BinaryIO, start: int, stop: int) -> int:
    """How many blocks of a VOC hold samples; libsndfile would read the headers of all but one as samples."""
    file.seek(start + 20)
    position, n_blocks = start + int.from_bytes(file.read(2), "little"), 0
    while position + 4 <= stop:
        file.seek(position)
        kind, size = file.read(1)[0], int.from_bytes(file.read(3), "little")
        if kind == 0:
            break
        n_blocks += kind in _SOUND_BLOCKS
        position += 4 + size
    return n_blocks
