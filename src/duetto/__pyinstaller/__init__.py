"""For PyInstaller, which finds this folder by the entry point in pyproject.toml when it freezes a program."""

from pathlib import Path


def hook_dirs() -> list[str]:
    """The folder of the hook that tells which files and modules of Duetto a frozen program needs."""
    return [str(Path(__file__).parent)]
