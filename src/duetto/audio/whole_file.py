"""Whether a file that FFmpeg would read in part without a word is whole, and one."""

from typing import BinaryIO

from duetto.audio.input_file import InputFile
from duetto.errors import AudioError


def check_whole(file: InputFile, binary: BinaryIO) -> None:
    """Refuse an AVI that was cut off, and MP4 files joined, of which FFmpeg reads the first.

    Raises:
        AudioError: it is such a file.
    """
    head = binary.read(12)
    size = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"AVI " and file.n_bytes < size < 2**32 - 8:
        counts = f"the header promises {size} bytes, {file.n_bytes} are there"
        raise AudioError(f"{file.name} is truncated: {counts}; get a whole copy of it")
    if head[4:8] == b"ftyp" and (n_files := _n_indices(binary)) > 1:
        raise AudioError(f"{file.name} consists of {n_files} MP4 files, one after the other; split it")
    binary.seek(0)


def _n_indices(binary: BinaryIO) -> int:
    """The boxes moov of an MP4, one for each file."""
    position, n_indices = 0, 0
    while True:
        binary.seek(position)
        header = binary.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:  # a longer number follows
            size = int.from_bytes(header[8:], "big")
        if len(header) < 8 or size < 8:
            return n_indices
        n_indices += header[4:8] == b"moov"
        position += size
