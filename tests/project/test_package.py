import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile

import duetto
from helpers.command_line import duetto_apart
from helpers.tiny import write_model

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch", "lightning_fabric", "scipy", "matplotlib", "pydantic", "onnx", "tensorboard", "safetensors",
    "av",
)  # fmt: skip
PUBLIC = [
    "AudioError",
    "ConfigError",
    "DatasetError",
    "DuettoError",
    "FileOptions",
    "MetricError",
    "ModelError",
    "SeparatedFile",
    "SeparationSettings",
    "Separator",
    "Track",
    "bss_eval",
    "evaluate",
    "list_bundles",
    "load_audio",
    "load_tracks",
    "save_audio",
    "separate",
    "separate_files",
    "si_sdr",
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (20000, 2)), 44100)
    return path


def python(program: str) -> str:
    """What a program prints in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_public_names_are_these() -> None:
    assert sorted(duetto.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(duetto))
    assert python("from duetto import *; print(*sorted(n for n in dir() if n[0] != '_'))").split() == PUBLIC


def test_every_public_name_explains_itself() -> None:
    for name in PUBLIC:
        thing = getattr(duetto, name)
        assert callable(thing)
        assert thing.__doc__
        assert thing.__doc__ not in (Exception.__doc__, "")
        assert thing.__module__.startswith("duetto.")


def test_errors_have_one_root() -> None:
    errors = [getattr(duetto, name) for name in PUBLIC if name.endswith("Error")]
    assert all(issubclass(error, duetto.DuettoError) for error in errors)


@pytest.mark.parametrize(
    "first",
    [
        "audio",
        "batch",
        "cli",
        "evaluation.bss_eval",
        "evaluation.evaluator",
        "models",
        "separation.separator",
    ],
)
def test_no_module_shadows_a_function(first: str) -> None:
    check = (
        f"import duetto.{first}, duetto\n"
        f"assert all(callable(getattr(duetto, name)) for name in {PUBLIC})\n"
        "print(duetto.bss_eval.__name__, duetto.evaluate.__name__, duetto.separate.__name__)"
    )
    assert python(check) == "bss_eval evaluate separate"


def test_importing_and_separating_load_no_heavy_library(song: Path, bundle: Path, tmp_path: Path) -> None:
    check = (
        "import duetto, sys\n"
        f"done = duetto.Separator({str(bundle)!r}).separate_file({str(song)!r}, {str(tmp_path / 'out')!r})\n"
        "print(len(done.paths), *{name.partition('.')[0] for name in sys.modules})"
    )
    n_stems, *loaded = python(check).split()
    assert n_stems == "2"
    assert not {*HEAVY, "click"} & set(loaded)
    assert "numpy" not in python("import duetto, sys; print(*sys.modules)").split()


def test_separating_works_where_the_heavy_libraries_are_missing(
    song: Path, bundle: Path, tmp_path: Path
) -> None:
    block = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {HEAVY}:\n"
        "            raise ModuleNotFoundError(f'{name} is blocked', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "try:\n"
        "    import torch\n"
        "except ModuleNotFoundError:\n"
        "    pass\n"
        "else:\n"
        "    sys.exit('not blocked')"
    )
    outcome = duetto_apart("separate", song, "-n", bundle, "-o", tmp_path / "out", before=block)
    assert (outcome.code, outcome.err) == (0, [])
    assert [soundfile.info(path).frames for path in outcome.out] == [20000, 20000]


def test_the_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_linter_would_see_a_wrong_import(tmp_path: Path) -> None:
    """A contract that nothing can break is no contract."""
    package = tmp_path / "duetto"
    for path in (ROOT / "src" / "duetto").rglob("*.py"):
        target = package / path.relative_to(ROOT / "src" / "duetto")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    wrong = {
        "dsp/stft.py": "import torch",
        "dsp/masks.py": "from duetto.separation import separator",
        "audio/tags.py": "from duetto.audio import reader",
        "separation/remainder.py": "import scipy.signal",
        "training/networks/drnn.py": "from duetto.training.networks import vpnn",
        "nowhere.py": '"""A module without a layer."""',
    }
    for name, line in wrong.items():
        with (package / name).open("a") as file:
            file.write(f"\n{line}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    for pair in (
        "duetto.dsp is not allowed to import duetto.separation",
        "No cycles inside the rooms BROKEN",
        "duetto.dsp.stft -> torch",
        "duetto.separation.remainder -> scipy",
        "duetto.training.networks.drnn -> duetto.training.networks.vpnn",
        "nowhere",
    ):
        assert pair in done.stdout, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder)
    (path,) = folder.glob("duetto-*.whl")
    return path


def pip(*arguments: str | Path, of: Path = Path(sys.executable)) -> None:
    done = subprocess.run(
        [of, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_what_users_need_and_nothing_else(wheel: Path) -> None:
    assert wheel.stat().st_size < 13e6  # with what it needs, 47 MB, a download of less than 60
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src" / "duetto"
    for pattern in (
        "*.py",
        "*.onnx",
        "*.npz",
        "*.toml",
        "*.flac",
        "py.typed",
        "__init__.pyi",
    ):
        for path in source.rglob(pattern):
            assert f"duetto/{path.relative_to(source)}" in names
    assert "duetto/audio/example.flac" in names
    assert "duetto/training/recipes/drnn.toml" in names
    assert "duetto/py.typed" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


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


def test_the_wheel_alone_separates_the_example(wheel: Path, bundle: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip("install", wheel, "-c", ROOT / "constraints.txt", of=binaries / "python")
    model = "duetto" if (ROOT / "src" / "duetto" / "models" / "weights" / "duetto.onnx").exists() else bundle
    done = subprocess.run(
        [binaries / "duetto", "separate", "--example", "-n", model],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    example, rate = soundfile.read(ROOT / "src" / "duetto" / "audio" / "example.flac", dtype="int16")
    stems = [soundfile.read(tmp_path / path, dtype="int16") for path in done.stdout.splitlines()]
    assert [stem_rate for _, stem_rate in stems] == [rate, rate]
    vocals, accompaniment = (stem.astype(int) for stem, _ in stems)
    np.testing.assert_array_equal(vocals + accompaniment, example)
    assert min(np.abs(vocals).max(), np.abs(accompaniment).max()) > 1000
    if model is bundle:
        pytest.skip("the model duetto does not ship yet; a tiny one separated the example")
