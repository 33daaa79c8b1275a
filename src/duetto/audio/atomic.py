"""Files that are whole or absent."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; its file moves there if the block ends well, and is removed if not.

    Missing folders are made. What a killed process left is overwritten by the next that writes this file.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:60]}.part")  # at most 246 bytes, whatever the script
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
