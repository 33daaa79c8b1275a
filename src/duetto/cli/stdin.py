"""A song from standard input, as a file."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from duetto.errors import AudioError


@contextmanager
def spooled(stream: BinaryIO) -> Iterator[Path]:
    """The path of a temporary file, named "stdin", that holds all of a stream; it is gone after the context.

    The readers of most formats need to move about in a file, which a pipe does not let them.

    Raises:
        AudioError: the temporary folder is full.
    """
    with tempfile.TemporaryDirectory(prefix="duetto-") as folder:
        path = Path(folder) / "stdin"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file)
        except OSError as error:
            reason = f"{error.strerror}; set TMPDIR to a folder with more space"
            raise AudioError(f"standard input cannot be kept in {folder}: {reason}") from error
        yield path
