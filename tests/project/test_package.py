import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

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
    "AudioError", "AudioFile", "AudioInfo", "AudioReader", "ConfigError", "DatasetError", "DuettoError",
    "FileOptions", "GlobalMeans", "Interval", "MaskModel", "MetricError", "ModelError", "ModelMetadata",
    "OnnxModel", "Output", "Record", "Report", "STFT", "Scores", "SeparatedFile", "SeparatesWaveforms",
    "SeparationSettings", "Separator", "Summary", "Track", "TrackAudio", "TrackResult", "TrackScores",
    "bss_eval", "evaluate", "list_models", "load_audio", "load_tracks", "save_audio", "separate",
    "separate_files", "si_sdr"
]  # fmt: skip


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
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


def classes_in(hint: object) -> Iterator[type]:
    """The classes of Duetto that an annotation consists of."""
    if isinstance(hint, type) and hint.__module__.startswith("duetto"):
        yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from classes_in(part)


def signatures(name: str) -> Iterator[object]:
    """A public function, or a public class with its public methods and properties."""
    public = getattr(duetto, name)
    yield public
    for member, value in vars(public).items() if inspect.isclass(public) else ():
        value = getattr(value, "__func__", getattr(value, "fget", value))
        if inspect.isfunction(value) and (member == "__init__" or not member.startswith("_")):
            yield value


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"AudioFile"}))
def test_every_name_that_a_signature_mentions_can_be_imported(name: str) -> None:
    for signature in signatures(name):
        mentioned = {
            found.__name__ for hint in get_type_hints(signature).values() for found in classes_in(hint)
        }
        assert mentioned <= set(PUBLIC)


@pytest.mark.slow
def test_the_public_names_are_these() -> None:
    assert sorted(duetto.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(duetto))
    assert python("from duetto import *; print(*sorted(n for n in dir() if n[0] != '_'))").split() == PUBLIC


def test_every_public_name_explains_itself() -> None:
    for name in set(PUBLIC) - {"AudioFile"}:  # which is a union of types
        thing = getattr(duetto, name)
        assert callable(thing)
        assert thing.__doc__
        assert thing.__doc__ not in (Exception.__doc__, "")
        assert thing.__module__.startswith("duetto.")


def test_errors_have_one_root() -> None:
    errors = [getattr(duetto, name) for name in PUBLIC if name.endswith("Error")]
    assert all(issubclass(error, duetto.DuettoError) for error in errors)


@pytest.mark.slow
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
        f"assert not any(isinstance(getattr(duetto, name), type(duetto)) for name in {PUBLIC})\n"
        "print(duetto.bss_eval.__name__, duetto.evaluate.__name__, duetto.separate.__name__)"
    )
    assert python(check) == "bss_eval evaluate separate"


@pytest.mark.slow
def test_importing_and_separating_load_no_heavy_library(song: Path, model_path: Path, tmp_path: Path) -> None:
    check = (
        "import duetto, sys\n"
        f"done = duetto.Separator({str(model_path)!r}).separate_file("
        f"{str(song)!r}, {str(tmp_path / 'out')!r})\n"
        "print(len(done.paths), *{name.partition('.')[0] for name in sys.modules})"
    )
    n_stems, *loaded = python(check).split()
    assert n_stems == "2"
    assert not {*HEAVY, "click"} & set(loaded)
    assert "numpy" not in python("import duetto, sys; print(*sys.modules)").split()


@pytest.mark.slow
def test_separating_works_where_the_heavy_libraries_are_missing(
    song: Path, model_path: Path, tmp_path: Path
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
    outcome = duetto_apart("separate", song, "-n", model_path, "-o", tmp_path / "out", before=block)
    assert (outcome.code, outcome.err) == (0, [])
    assert [soundfile.info(path).frames for path in outcome.out] == [20000, 20000]


@pytest.mark.slow
def test_the_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
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
