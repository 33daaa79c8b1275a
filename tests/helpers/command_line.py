"""Runs the command line as a user does: in this process, which is quick, or in one of its own."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from duetto.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: list[str]
    err: list[str]
    out_bytes: bytes = b""


def duetto(*arguments: str | Path, stdin: bytes = b"") -> Outcome:
    """Run a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        ):
            main([os.fspath(argument) for argument in arguments])
    except SystemExit as end:
        out.flush()
        out_bytes = out.buffer.getvalue()  # type: ignore[attr-defined]
        return Outcome(end.code, _lines(out), _lines(err), out_bytes)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGTERM, previous)
    raise AssertionError("main returned")


def _lines(stream: io.TextIOWrapper) -> list[str]:
    stream.seek(0)
    return stream.read().splitlines()


def duetto_apart(*arguments: str | Path, before: str = "", cwd: Path | None = None) -> Outcome:
    """Run a command in a process of its own, after the Python statements `before`."""
    done = subprocess.run(
        command(*arguments, before=before), capture_output=True, cwd=cwd, timeout=100, check=False
    )
    return Outcome(
        done.returncode, os.fsdecode(done.stdout).splitlines(), os.fsdecode(done.stderr).splitlines()
    )


# a shell's background jobs, of which the tests may be one, are deaf to Ctrl-C
LISTENING = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"


def command(*arguments: str | Path, before: str = "") -> Sequence[str]:
    program = f"{LISTENING}\n{before}\nimport sys\nfrom duetto.cli import main\nmain(sys.argv[1:])"
    return [sys.executable, "-c", program, *map(os.fspath, arguments)]


# so that permissions bind root as well
WITHOUT_PRIVILEGES = """
import ctypes, struct

assert ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24)) == 0
"""


def without(module: str) -> str:
    """Statements for `duetto_apart` after which a module and what is in it cannot be imported."""
    return f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


class Terminal:
    """A stderr that is a terminal and remembers what it was shown."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.shown = ""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        pass

    def write(self, text: str) -> int:
        self.shown += text
        return len(text)
