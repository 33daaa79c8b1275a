"""The wheel, and what a base install of it brings and can do."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
import types
import venv
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile

import duetto
from helpers.command_line import duetto_apart

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "duetto"
DATA = ("*.py", "*.onnx", "*.npz", "*.toml", "*.flac", "LICENSE.md", "py.typed", "__init__.pyi")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder)
    (path,) = folder.glob("duetto-*.whl")
    return path


@pytest.fixture(scope="module")
def base_install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pip("install", wheel, "-c", ROOT / "constraints.txt", of=programs / "python")
    return programs


def pip(*arguments: str | Path, of: Path = Path(sys.executable)) -> None:
    done = subprocess.run(
        [of, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_holds_what_users_need_and_nothing_else(wheel: Path) -> None:
    assert wheel.stat().st_size < 17e6  # nearly all of it the weights of three models
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = {f"duetto/{path.relative_to(PACKAGE)}" for pattern in DATA for path in PACKAGE.rglob(pattern)}
    assert needed <= names
    assert {"duetto/audio/example.flac", "duetto/training/recipes/drnn.toml", "duetto/py.typed"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


@pytest.mark.slow
def test_the_wheel_states_the_licences_of_the_code_and_of_the_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        stated = message_from_bytes(archive.read(about))
        assert stated["License-Expression"] == "MIT AND CC-BY-NC-SA-4.0"
        files = stated.get_all("License-File")
        assert files == ["LICENSE", "src/duetto/models/weights/LICENSE.md"]
        weights = archive.read(about.replace("METADATA", f"licenses/{files[1]}")).decode()
    assert all(f"`{path.name}`" in weights for path in PACKAGE.rglob("weights/*.onnx"))


@pytest.mark.slow
def test_versions_agree(wheel: Path) -> None:
    assert wheel.name.split("-")[1] == duetto.__version__ == metadata.version("duetto")
    assert duetto_apart("--version").out == [f"duetto, version {duetto.__version__}"]


def test_the_base_install_is_light() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    assert names == {"click", "lazy-loader", "numpy", "onnxruntime", "samplerate", "soundfile"}


def test_the_base_install_brings_no_gpl_package() -> None:
    """The licences are those that the installed packages state, of all that the requirements require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    waiting, seen = set(map(_name, project["dependencies"])), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            package = metadata.metadata(name)
        except metadata.PackageNotFoundError:  # needed by other systems or versions of Python
            continue
        stated = [package.get("License-Expression") or (package.get("License") or "").partition("\n")[0]]
        stated += [text for text in package.get_all("Classifier") or [] if text.startswith("License")]
        assert any(stated), name
        assert not re.search("GPL|General Public", " ".join(stated)), (name, stated)
        required = metadata.requires(name) or []
        waiting |= {_name(text) for text in required if "extra ==" not in text} - seen
    assert seen > {"cffi", "numpy"}


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


@pytest.mark.slow
def test_the_wheel_alone_separates_the_example(base_install: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [base_install / "duetto", "separate", "--example"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    example, rate = soundfile.read(PACKAGE / "audio" / "example.flac", dtype="int16")
    stems = [soundfile.read(tmp_path / path, dtype="int16") for path in done.stdout.splitlines()]
    assert [stem_rate for _, stem_rate in stems] == [rate, rate]
    vocals, accompaniment = (stem.astype(int) for stem, _ in stems)
    np.testing.assert_array_equal(vocals + accompaniment, example)
    assert min(np.abs(vocals).max(), np.abs(accompaniment).max()) > 1000


def test_a_frozen_program_finds_models_names_and_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyInstaller reads the entry point, and sees neither data nor what is imported on first use."""
    (entry,) = metadata.distribution("duetto").entry_points.select(group="pyinstaller40")
    (folder,) = entry.load()()
    modules = ["duetto.cli.separate", "duetto.batch.ray", "duetto.training.trainer", "duetto.batch.runner"]
    stand_in = types.ModuleType("PyInstaller.utils.hooks")
    stand_in.collect_data_files = lambda name: [name]  # type: ignore[attr-defined]
    stand_in.collect_submodules = lambda _, **options: list(filter(options["filter"], modules))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    found = runpy.run_path(str(Path(folder, "hook-duetto.py")))
    assert found["datas"] == ["duetto"]
    assert found["hiddenimports"] == ["duetto.cli.separate", "duetto.batch.runner"]
