"""The examples in the public docstrings run, and every public function has one."""

import doctest
import inspect
import shutil
from pathlib import Path

import pytest

import duetto
from duetto.cli.separate import EXAMPLE

SHOWN = {"load_tracks"}  # in the example of evaluate
FUNCTIONS = {name for name in duetto.__all__ if inspect.isfunction(getattr(duetto, name))}
NAMES = sorted({"Separator"} | FUNCTIONS - SHOWN)
METHODS = {"separate", "stream", "separate_file"}  # of a Separator


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EXAMPLE, tmp_path / "song.flac")
    monkeypatch.chdir(tmp_path)
    examples = [test for test in doctest.DocTestFinder().find(getattr(duetto, name), name) if test.examples]
    assert name in {test.name for test in examples}
    if name == "Separator":
        assert {test.name for test in examples} >= {f"Separator.{method}" for method in METHODS}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples:
        said: list[str] = []
        runner.run(test, out=said.append)
        assert not said, "".join(said)
