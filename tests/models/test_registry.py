import re

import numpy as np
import pytest

from duetto import Separator
from duetto.errors import ModelError
from duetto.evaluation.oracles import ORACLES
from duetto.models.baselines import METHODS
from duetto.models.onnx_model import Bundle, list_bundles
from duetto.models.registry import find_estimators, list_models
from helpers.tiny import METADATA, TinyEstimator, write_model


def test_every_name_is_found_and_none_stands_for_two_things():
    names = list_models()
    assert names == [*list_bundles(), *METHODS]
    assert len({*names, *ORACLES}) == len(names) + len(ORACLES)
    assert all(find_estimators(name)[0].metadata.name == name for name in names)
    assert isinstance(find_estimators("drnn")[0], Bundle)


def test_a_bundle_is_found_by_path(tmp_path):
    path = write_model(tmp_path / "tiny.onnx")
    for model in (path, str(path)):
        (found,) = find_estimators(model)
        assert found.path == path
    with pytest.raises(ModelError, match=r"missing\.onnx: cannot read"):
        find_estimators("missing.onnx")


def test_an_unknown_name_gets_the_nearest_and_the_list():
    every = re.escape(f"Give one of {', '.join(list_models())} or the path")
    with pytest.raises(ModelError, match=rf"no model 'rpka': did you mean 'rpca'\? {every}"):
        Separator("rpka")
    with pytest.raises(ModelError, match=f"no model 'zzz': {every}"):
        Separator("zzz")


def test_stages_take_apart_the_vocals_of_the_one_before(monkeypatch, rng):
    class Band(TinyEstimator):
        """Keeps the bins from `first` to `last`."""

        def __init__(self, first, last):
            self.kept = (np.arange(513) >= first) & (np.arange(513) < last)

        def masks(self, magnitude):
            vocals = np.broadcast_to(self.kept[None, :, None], magnitude.shape).astype(np.float32)
            return np.stack([vocals, 1 - vocals], axis=1)

    monkeypatch.setitem(METHODS, "band", (Band(0, 256), Band(128, 513)))
    time = np.arange(32_000) / 16_000
    tones = {hertz: np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (1000, 3000, 5000)}
    vocals = Separator("band").separate(sum(tones.values()), 16_000)["vocals"]
    np.testing.assert_allclose(vocals[2000:-2000], tones[3000][2000:-2000], atol=0.02)


def test_an_estimator_chooses_the_length_of_its_segments():
    class Long(TinyEstimator):
        metadata = METHODS["repet-sim"][0].metadata

    assert METADATA.segment_seconds == Separator(TinyEstimator()).settings.segment_seconds == 12
    assert Separator(Long()).settings.segment_seconds == 60
    assert Separator(Long(), segment_seconds=5).settings.segment_seconds == 5
