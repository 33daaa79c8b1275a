"""Fixtures for every test file."""

import os
from pathlib import Path

# threads of linear algebra that wait for a busy core take many times as long as one thread
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from duetto.separation.separator import Separator
from helpers.tiny import TinyModel, write_model, write_stateful_model

# tests time nothing; a file that an example writes in a folder of the test replaces that of the one before
COMMON = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.function_scoped_fixture]}
hypothesis.settings.register_profile("all", **COMMON)
hypothesis.settings.register_profile("quick", **COMMON, max_examples=5)


def pytest_configure(config: pytest.Config) -> None:
    """Where slow tests are left out, Hypothesis makes fewer examples."""
    hypothesis.settings.load_profile("quick" if config.option.markexpr == "not slow" else "all")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2017)


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the shared data folder beside the checkout")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def separator() -> Separator:
    """With a network that needs no file."""
    return Separator(TinyModel())


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model of a few kilobytes that keeps no state."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny_stateful_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model of a few kilobytes that separates a stream frame by frame."""
    return write_stateful_model(tmp_path_factory.mktemp("models") / "tiny-stream.onnx")
