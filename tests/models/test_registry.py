import re

import numpy as np
import pytest

from duetto import Separator
from duetto.errors import ModelError
from duetto.evaluation.oracles import ORACLES
from duetto.models import registry
from duetto.models.baselines import METHODS
from duetto.models.onnx_model import OnnxModel
from duetto.models.registry import list_models, model_files, open_model
from helpers.tiny import METADATA, TinyModel, write_model


def test_every_name_is_found_and_none_stands_for_two_things():
    names = list_models()
    assert names == [*model_files(), *METHODS]
    assert len({*names, *ORACLES}) == len(names) + len(ORACLES)
    assert all(open_model(name)[0].metadata.name == name for name in names)
    assert isinstance(open_model("drnn")[0], OnnxModel)


def test_a_model_file_is_found_by_path(tmp_path):
    path = write_model(tmp_path / "tiny.onnx")
    for model in (path, str(path)):
        (found,) = open_model(model)
        assert found.path == path
    with pytest.raises(ModelError, match=r"missing\.onnx: cannot read"):
        open_model("missing.onnx")


def test_an_unknown_name_gets_the_nearest_and_the_list():
    every = re.escape(f"Give one of {', '.join(list_models())} or the path")
    with pytest.raises(ModelError, match=rf"no model 'rpka': did you mean 'rpca'\? {every}"):
        Separator("rpka")
    with pytest.raises(ModelError, match=f"no model 'zzz': {every}"):
        Separator("zzz")


def test_stages_separate_the_vocals_of_the_one_before(monkeypatch, rng):
    class Band(TinyModel):
        """Keeps the bins from `first` to `last`."""

        def __init__(self, first, last):
            self.kept = (np.arange(513) >= first) & (np.arange(513) < last)

        def masks(self, magnitude):
            vocals = np.broadcast_to(self.kept, magnitude.shape).astype(np.float32)
            return np.stack([vocals, 1 - vocals], axis=1)

    monkeypatch.setitem(METHODS, "band", (Band(0, 256), Band(128, 513)))
    time = np.arange(32_000) / 16_000
    tones = {hertz: np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (1000, 3000, 5000)}
    vocals = Separator("band").separate(sum(tones.values()), 16_000)["vocals"]
    np.testing.assert_allclose(vocals[2000:-2000], tones[3000][2000:-2000], atol=0.02)


def test_a_model_chooses_the_length_of_its_segments():
    class Long(TinyModel):
        metadata = METHODS["repet-sim"][0].metadata

    assert METADATA.segment_seconds == Separator(TinyModel()).settings.segment_seconds == 10.24
    assert Separator(Long()).settings.segment_seconds == 60
    assert Separator(Long(), segment_seconds=5).settings.segment_seconds == 5


def test_the_model_files_that_ship_are_listed_by_name(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    paths = {name: tmp_path / "weights" / f"{name}.onnx" for name in ("alpha", "beta")}
    for path in [*paths.values(), tmp_path / "weights" / "notes.txt"]:
        path.touch()
    monkeypatch.setattr(registry.resources, "files", lambda package: tmp_path)
    assert list(model_files().items()) == list(paths.items())
    assert list_models() == ["alpha", "beta", *METHODS]
