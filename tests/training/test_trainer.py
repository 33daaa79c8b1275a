"""Whole runs on a small set that can be learnt: what they end with, leave behind and survive."""

import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from duetto.errors import ConfigError, DuettoError, MetricError, ModelError
from duetto.evaluation.datasets import load_tracks
from duetto.training.checkpoint import RunProgress, load_weights, save_weights
from duetto.training.config import Config
from duetto.training.config_io import load_config, parse_config
from duetto.training.exporter import export_run
from duetto.training.init_from import USUAL_SIZE, initialise_from
from duetto.training.networks import build_network
from duetto.training.trainer import train

SAMPLE_RATE = 8000
ADAMW = {"batch_size": 4, "learning_rate": 1e-2, "warm_up_steps": 2}
MUON = {"kind": "muon", "batch_size": 2, "learning_rate": 1e-2, "warm_up_steps": 2, "ema_decay": 0.9}
LBFGS = {"kind": "lbfgs", "batch_size": 5, "iterations": 3, "corrections": 8}

# processes that are forked from one that has imported torch and started no thread: they start at once
FORKS = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
if sys.platform != "win32":
    FORKS.set_forkserver_preload(["duetto.training.trainer"])


def config(optimiser: dict[str, Any] | None = None, **run: Any) -> Config:
    """A network of 16 units that scores every 4 of 16 steps."""
    return parse_config(
        {
            "name": "tiny",
            "data": {"dataset": "pairs", "sample_rate": SAMPLE_RATE},
            "stft": {"n_fft": 256, "hop_length": 128},
            "network": {"hidden_size": 16, "n_layers": 2},
            "mixing": {"n_frames": 20},
            "optimiser": optimiser or ADAMW,
            "run": {"n_steps": 16, "evaluate_every": 4, "n_logged_tracks": 0, **run},
        }
    )


def unet_config(
    optimiser: dict[str, Any] | None = None,
    *,
    n_channels: int = 1,
    n_blocks: Sequence[int] = (1,),
    growth: int = 2,
    **run: Any,
) -> Config:
    """A U-Net of 4 channels that learns from stereo scenes."""
    values = config(optimiser or MUON, **run).model_dump(mode="json")
    values["network"] = {
        "kind": "unet",
        "n_channels": n_channels,
        "n_sub_bands": 4,
        "width": 4,
        "growth": growth,
    }
    values["network"] |= {"n_levels": 2, "n_blocks": list(n_blocks), "least_frequencies": 4}
    values["loss"] = {"kind": "l1", "discrimination": 0}
    values["mixing"] = {"n_frames": 20, "remix": 0.5, "equal_level": True, "scene": {"equalise": 0.5}}
    return parse_config(values)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gliding tones over low noise: 4 training tracks and 1 validation track of 1 s."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for track in range(5):
        hertz = rng.uniform(1500, 2300) + 300 * np.sin(2 * np.pi * (2 + track) * seconds)
        noise = rng.standard_normal(SAMPLE_RATE + 63)
        sources = {
            "vocals": 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE),
            "accompaniment": 0.05 * np.convolve(noise, np.hanning(64), "valid"),
        }
        for name, source in sources.items():
            folder = root / ("dev" if track == 4 else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{track}.wav", source, SAMPLE_RATE, subtype="FLOAT")
    return root


def log(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's log without what depends on the clock."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    clock = {"seconds", "waited_seconds"}
    return [{key: value for key, value in json.loads(line).items() if key not in clock} for line in lines]


def column(folder: Path, key: str) -> list[float]:
    return [line[key] for line in log(folder) if key in line]


def tensorboard(folder: Path) -> Any:
    """All events of a run."""
    from tensorboard.backend.event_processing import event_accumulator  # slow to import; killed runs need not

    every = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
    return event_accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance=every).Reload()


def newest(folder: Path) -> Path:
    (checkpoint,) = folder.glob("checkpoint-*")
    return checkpoint


@pytest.fixture(scope="module")
def adamw_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "adamw"
    train(config(n_logged_tracks=1), dataset, folder, accelerator="cpu")
    return folder


@pytest.fixture(scope="module")
def lbfgs_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "lbfgs"
    train(config(LBFGS), dataset, folder, accelerator="cpu")
    return folder


@pytest.fixture(scope="module")
def unet_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "unet"
    train(unet_config(), dataset, folder, accelerator="cpu")
    return folder


# --- learning


def test_adamw_lowers_the_loss_and_raises_the_validation_score(adamw_run: Path) -> None:
    losses, scores = column(adamw_run, "loss"), column(adamw_run, "validation/vocals/GNSDR")
    assert len(losses) == 16
    assert np.mean(losses[-4:]) < 0.2 * losses[0]
    assert min(scores[1:]) > scores[0] + 3


@pytest.mark.slow
def test_full_batch_lbfgs_lowers_the_loss_in_every_step(lbfgs_run: Path) -> None:
    losses = column(lbfgs_run, "loss")
    assert all(after < before for before, after in itertools.pairwise(losses))
    assert column(lbfgs_run, "validation/vocals/GNSDR")[-1] > 15


def test_a_run_saves_by_the_clock_as_well_as_where_it_is_scored(dataset: Path, tmp_path: Path) -> None:
    seen = []

    def look(progress: RunProgress, values: dict[str, float]) -> None:
        seen.append((newest(tmp_path).name, (tmp_path / "last.safetensors").exists()))

    settings = config(n_steps=3, evaluate_every=100, checkpoint_minutes=1e-9)
    train(settings, dataset, tmp_path, accelerator="cpu", on_step=look)
    assert seen == [(f"checkpoint-{step:08d}", True) for step in (1, 2, 3)]


@pytest.mark.slow
def test_what_workers_mix_ahead_is_what_the_training_process_mixes(
    dataset: Path, tmp_path: Path, unet_run: Path
) -> None:
    before = set(multiprocessing.active_children())
    train(unet_config(n_workers=2), dataset, tmp_path, accelerator="cpu")
    check_equal(tmp_path, unet_run)
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_bf16_autocast_learns_nearly_the_same(dataset: Path, tmp_path: Path, adamw_run: Path) -> None:
    train(config(precision="bf16-mixed"), dataset, tmp_path / "run", accelerator="cpu")
    assert column(tmp_path / "run", "loss")[0] == pytest.approx(column(adamw_run, "loss")[0], rel=1e-2)
    assert column(tmp_path / "run", "loss") != column(adamw_run, "loss")
    assert (
        column(tmp_path / "run", "validation/vocals/GNSDR")[-1]
        > column(adamw_run, "validation/vocals/GNSDR")[-1] - 2
    )
    weights = load_file(tmp_path / "run" / "best.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_the_learning_rate_rises_then_falls_to_1_percent(adamw_run: Path) -> None:
    rates = column(adamw_run, "learning_rate")
    assert rates[0] == pytest.approx(0.5e-2)
    assert rates[1] == pytest.approx(1e-2, rel=0.02)
    assert rates[1:] == sorted(rates[1:], reverse=True)


@pytest.mark.slow
def test_muon_teaches_a_u_net_on_scenes(unet_run: Path) -> None:
    losses, scores = column(unet_run, "loss"), column(unet_run, "validation/vocals/GNSDR")
    assert np.mean(losses[-4:]) < 0.75 * np.mean(losses[:4])
    assert scores[-1] > scores[0] + 1
    assert column(unet_run, "learning_rate")[1] == pytest.approx(1e-2, rel=0.02)  # AdamW's


@pytest.mark.slow
def test_the_moving_average_is_scored_and_saved(unet_run: Path) -> None:
    """Of steps up to 16: some other weights than the last, but near them."""
    summary = json.loads((unet_run / "summary.json").read_text(encoding="utf-8"))
    assert summary["best_step"] == 16
    best, last = (
        load_file(p) for p in (unet_run / "best.safetensors", newest(unet_run) / "weights.safetensors")
    )
    assert best.keys() == last.keys()
    name = "stem.0.weight"
    distance = float((best[name] - last[name]).norm() / last[name].norm())
    assert 1e-3 < distance < 0.5
    _, averaged = torch.load(newest(unet_run) / "optimiser.pt", weights_only=True)
    assert torch.equal(averaged[f"module.{name}"], best[name])


# --- initialised from other weights


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(newest(folder) / "weights.safetensors")


@pytest.mark.slow
def test_a_run_is_initialised_from_another(dataset: Path, tmp_path: Path, unet_run: Path) -> None:
    initial = str(unet_run / "best.safetensors")
    still = {**MUON, "learning_rate": 1e-30, "muon_learning_rate": 1e-30, "weight_decay": 0}
    settings = unet_config(still, n_steps=1, init_from=initial, seed=5)
    train(settings, dataset, tmp_path / "run", accelerator="cpu")
    held, found = load_file(initial), weights_of(tmp_path / "run")
    learnt = [name for name in found if "running" not in name and "tracked" not in name]
    assert all(torch.equal(found[name], held[name]) for name in learnt)
    assert column(tmp_path / "run", "validation/vocals/GNSDR")[0] == pytest.approx(
        column(unet_run, "validation/vocals/GNSDR")[-1], abs=1
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selection", "ema_decay", "kept"), [("best", 0.0, True), ("best", 0.9, True), ("last", 0.0, False)]
)
def test_initial_weights_that_no_step_improves_on_are_kept(
    dataset: Path, tmp_path: Path, unet_run: Path, selection: str, ema_decay: float, kept: bool
) -> None:
    initial = unet_run / "best.safetensors"
    harmful = {**MUON, "learning_rate": 0.5, "muon_learning_rate": 0.5, "ema_decay": ema_decay}
    settings = unet_config(
        harmful, n_steps=4, evaluate_every=2, init_from=str(initial), checkpoint_selection=selection
    )
    progress = train(settings, dataset, tmp_path / "run", accelerator="cpu")
    held, found = load_file(initial), load_file(tmp_path / "run" / "best.safetensors")
    assert all(torch.equal(found[name], held[name]) for name in held) == kept
    assert progress.best_step == (0 if kept else 4)
    assert (progress.initial_gnsdr is not None) == kept
    if kept:
        assert progress.initial_gnsdr == progress.best_gnsdr
        assert progress.best_gnsdr == pytest.approx(column(unet_run, "validation/vocals/GNSDR")[-1], abs=1e-3)
    assert len(column(tmp_path / "run", "validation/vocals/GNSDR")) == 2


@pytest.mark.slow
def test_a_run_is_initialised_from_a_model_file(dataset: Path, tmp_path: Path, unet_run: Path) -> None:
    """Its norms fit the mixtures, so that what a step changes is the step's."""
    export_run(unet_run, tmp_path / "initial.onnx", bits=32)
    still = {**MUON, "learning_rate": 1e-30, "muon_learning_rate": 1e-30, "weight_decay": 0}
    settings = unet_config(still, n_steps=1, init_from=str(tmp_path / "initial.onnx"), seed=5)
    train(settings, dataset, tmp_path / "run", accelerator="cpu")
    assert column(tmp_path / "run", "validation/vocals/GNSDR")[0] == pytest.approx(
        column(unet_run, "validation/vocals/GNSDR")[-1], abs=1
    )
    found = weights_of(tmp_path / "run")["stem.0.weight"].flatten(1)
    assert found.norm() / min(found.shape) ** 0.5 == pytest.approx(USUAL_SIZE, rel=1e-4)


@pytest.mark.slow
def test_a_run_is_resumed_without_the_file_it_was_initialised_from(
    dataset: Path, tmp_path: Path, unet_run: Path
) -> None:
    initial = tmp_path / "initial.safetensors"
    shutil.copy(unet_run / "best.safetensors", initial)
    settings = unet_config(n_steps=8, init_from=str(initial))
    train(settings, dataset, tmp_path / "whole", accelerator="cpu")

    class KilledError(Exception):
        pass

    def kill(progress: Any, values: dict[str, float]) -> None:
        if progress.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train(settings, dataset, tmp_path / "broken", accelerator="cpu", on_step=kill)
    initial.unlink()
    train(settings, dataset, tmp_path / "broken", resume=True, accelerator="cpu")
    whole, broken = weights_of(tmp_path / "whole"), weights_of(tmp_path / "broken")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


@pytest.mark.slow
def test_a_stereo_network_is_initialised_from_a_mono_run(unet_run: Path) -> None:
    """Its masks of the middle are those of the mono network, whatever the side is; this is shared alike."""
    n_bins = 129
    mono = build_network(unet_config().network, n_bins).eval()
    stereo = build_network(unet_config(n_channels=2).network, n_bins).eval()
    load_weights(unet_run / "best.safetensors", mono)
    initialise_from(unet_run / "best.safetensors", stereo)
    middle = torch.randn(2, 2, 11, n_bins)  # real and imaginary planes
    for side in (torch.zeros_like(middle), torch.randn_like(middle)):
        with torch.inference_mode():
            expected, found = mono.masks(middle), stereo.masks(torch.cat([middle, side], 1))
        assert torch.allclose(found[:, :2], expected, atol=1e-5)
        assert (found[:, 2] == 0.5).all()
        assert (found[:, 3] == 0).all()
    assert (expected[:, 0] - 0.5).abs().max() > 0.05


@pytest.mark.slow
def test_a_stereo_network_initialised_from_a_mono_run_learns_of_the_side(
    dataset: Path, tmp_path: Path, unet_run: Path
) -> None:
    initial = str(unet_run / "best.safetensors")
    settings = unet_config(n_channels=2, n_steps=2, evaluate_every=2, init_from=initial)
    train(settings, dataset, tmp_path, accelerator="cpu")
    found, n_mono = weights_of(tmp_path), load_file(initial)["stem.0.weight"].shape[1]
    assert found["stem.0.weight"].shape[1] == 2 * n_mono
    assert found["stem.0.weight"][:, n_mono:].any()
    assert found["head.2.weight"][n_mono:].any()


@pytest.mark.slow
def test_a_wider_network_is_initialised_to_the_same_masks_and_all_of_it_learns(
    dataset: Path, tmp_path: Path, unet_run: Path
) -> None:
    initial, n_bins = unet_run / "best.safetensors", 129
    given = build_network(unet_config().network, n_bins).eval()
    wider = build_network(unet_config(growth=5).network, n_bins).eval()
    load_weights(initial, given)
    initialise_from(initial, wider)
    planes = torch.randn(2, 2, 11, n_bins)
    with torch.inference_mode():
        torch.testing.assert_close(wider.masks(planes), given.masks(planes), atol=1e-5, rtol=0)
    settings = unet_config(growth=5, n_steps=3, evaluate_every=3, init_from=str(initial))
    train(settings, dataset, tmp_path, accelerator="cpu")
    found = weights_of(tmp_path)
    for name, held in load_file(initial).items():
        if held.ndim > 1:
            assert found[name].ne(0).any(1).all(), name
            assert found[name].ne(0).any(0).all(), name


@pytest.mark.slow
def test_a_deeper_network_begins_much_as_the_one_it_starts_from(unet_run: Path) -> None:
    n_bins = 129
    given = build_network(unet_config().network, n_bins).eval()
    deeper = build_network(unet_config(n_blocks=(1, 3)).network, n_bins).eval()
    load_weights(unet_run / "best.safetensors", given)
    initialise_from(unet_run / "best.safetensors", deeper)
    assert [len(encoder) for encoder in deeper.encoders] == [2, 4]
    assert len(deeper.middle) == 4  # three residual blocks, and the one across frequencies
    planes = torch.randn(2, 2, 11, n_bins)
    with torch.inference_mode():
        drift = (deeper.masks(planes) - given.masks(planes)).square().mean().sqrt()
    assert drift < 1e-3  # an added block does nothing but cut off the little that is below 0


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_start_that_cannot_be_read_is_named(dataset: Path, tmp_path: Path, content: bytes | None) -> None:
    initial = tmp_path / "initial.safetensors"
    if content:
        initial.write_bytes(content)
    with pytest.raises(ModelError, match=r"initial\.safetensors: cannot .*run\.init_from"):
        train(unet_config(init_from=str(initial)), dataset, tmp_path / "run", accelerator="cpu")
    assert not (tmp_path / "run").exists()


def test_the_weights_of_a_larger_network_are_refused(tmp_path: Path) -> None:
    large = build_network(unet_config(n_channels=2).network, 129)
    save_weights(tmp_path / "large", large)
    with pytest.raises(ModelError, match="cannot take these initial weights"):
        initialise_from(tmp_path / "large", build_network(unet_config().network, 129))


# --- stopping, refusing


@pytest.mark.slow
def test_training_stops_when_the_validation_score_stalls(dataset: Path, tmp_path: Path) -> None:
    still = {**ADAMW, "learning_rate": 1e-30, "weight_decay": 0}
    progress = train(
        config(still, n_steps=50, evaluate_every=1, patience=3), dataset, tmp_path, accelerator="cpu"
    )
    assert (progress.step, progress.best_step, progress.n_stale) == (4, 1, 3)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (summary["step"], summary["best_step"]) == (4, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("selection", "step"), [("best", 8), ("last", 16)])
def test_checkpoint_selection(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selection: str, step: int
) -> None:
    scores = {4: 1.0, 8: 3.0, 12: 2.0, 16: 2.5}
    remaining = iter(scores.values())

    def scored(*_: Any, **__: Any) -> SimpleNamespace:
        means = SimpleNamespace(gnsdr=next(remaining), gsir=0.0, gsar=0.0)
        return SimpleNamespace(means={"vocals": means, "accompaniment": means})

    weights = {}

    def keep(progress: Any, values: dict[str, float]) -> None:
        if "validation/vocals/GNSDR" in values:
            weights[progress.step] = weights_of(tmp_path)["output.weight"]

    monkeypatch.setattr("duetto.training.trainer.evaluate", scored)
    settings = config(checkpoint_selection=selection)
    progress = train(settings, dataset, tmp_path, accelerator="cpu", on_step=keep)
    assert (progress.best_gnsdr, progress.best_step, progress.n_stale) == (
        scores[step],
        step,
        (16 - step) // 4,
    )
    saved = load_file(tmp_path / "best.safetensors")["output.weight"]
    assert [each for each in weights if torch.equal(weights[each], saved)] == [step]


def test_a_run_is_not_overwritten_nor_resumed_as_another(dataset: Path, adamw_run: Path) -> None:
    before = (adamw_run / "log.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run; add --resume"):
        train(config(n_logged_tracks=1), dataset, adamw_run, accelerator="cpu")
    with pytest.raises(ConfigError, match="a run with another optimiser, run"):
        train(config(LBFGS), dataset, adamw_run, resume=True, accelerator="cpu")
    assert (adamw_run / "log.jsonl").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(dataset: Path, tmp_path: Path, adamw_run: Path) -> None:
    folder = shutil.copytree(adamw_run, tmp_path / "copy")
    progress = train(config(n_logged_tracks=1), dataset, folder, resume=True, accelerator="cpu")
    assert progress.step == 16
    assert log(folder) == log(adamw_run)
    assert (folder / "best.safetensors").read_bytes() == (adamw_run / "best.safetensors").read_bytes()


def test_refusals_leave_no_run_behind(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    held = config().model_dump(mode="json")
    for changes, message in (
        ({"data": {**held["data"], "sample_rate": 16000}}, "its sample rate is 8000 Hz, below"),
        ({"data": {**held["data"], "held_out_songs": ["x"]}}, "there is no song 'x' in the split 'train'"),
    ):
        with pytest.raises(DuettoError, match=message):
            train(parse_config({**held, **changes}), dataset, folder, accelerator="cpu")
    with pytest.raises(ConfigError, match="batch_size = 4: must be a multiple of the 3 processes"):
        train(config(), dataset, folder, accelerator="cpu", devices=3)
    with pytest.raises(ConfigError, match="cannot use 1 x 'abacus'"):
        train(config(), dataset, folder, accelerator="abacus")
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_named(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot write"):
        train(config(), dataset, tmp_path / "file" / "run", accelerator="cpu")


def test_a_diverging_run_says_what_to_lower(dataset: Path, tmp_path: Path) -> None:
    mad = {**ADAMW, "learning_rate": 1e30, "warm_up_steps": 0}
    with pytest.raises(ConfigError, match=r"step 2: loss nan.*set a lower optimiser\.learning_rate"):
        train(config(mad), dataset, tmp_path / "1", accelerator="cpu")
    with pytest.raises(MetricError, match=r"step 1: .*set a lower optimiser\.learning_rate"):
        train(config(mad, evaluate_every=1), dataset, tmp_path / "2", accelerator="cpu")


def test_held_out_songs_are_scored_and_not_trained_on(dataset: Path, tmp_path: Path, adamw_run: Path) -> None:
    held = config(n_steps=4).model_dump(mode="json")
    held["data"]["held_out_songs"] = ["2"]
    train(parse_config(held), dataset, tmp_path, accelerator="cpu")
    assert log(tmp_path)[0]["loss"] != log(adamw_run)[0]["loss"]
    assert column(tmp_path, "validation/vocals/GNSDR")[0] != column(adamw_run, "validation/vocals/GNSDR")[0]


# --- what a run leaves behind


def test_tensorboard_and_the_log_say_the_same(adamw_run: Path) -> None:
    board = tensorboard(adamw_run)
    lines = [json.loads(line) for line in (adamw_run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    figures = {key for line in lines for key in line} - {"step"}
    scores = {f"validation/{s}/{m}" for s in ("vocals", "accompaniment") for m in ("GNSDR", "GSIR", "GSAR")}
    assert figures == {"loss", "learning_rate", "gradient_norm", "seconds", "waited_seconds", *scores}
    assert set(board.Tags()["scalars"]) == figures
    for key in figures:
        said = [(line["step"], np.float32(line[key])) for line in lines if key in line]
        assert [(event.step, np.float32(event.value)) for event in board.Scalars(key)] == said


def test_tensorboard_has_histograms_of_weights_and_gradients(adamw_run: Path) -> None:
    board = tensorboard(adamw_run)
    names = load_file(adamw_run / "best.safetensors").keys()
    expected = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    assert set(board.Tags()["histograms"]) == expected
    for tag in expected:
        assert [event.step for event in board.Histograms(tag)] == [4, 8, 12, 16]
    assert board.Histograms("gradients/output.weight")[0].histogram_value.max > 0


def test_tensorboard_has_audio_and_spectrograms_of_a_validation_track(adamw_run: Path, dataset: Path) -> None:
    board = tensorboard(adamw_run)
    waveforms = ["mixture", "vocals", "accompaniment", "reference vocals", "reference accompaniment"]
    assert set(board.Tags()["audio"]) == {f"4/{name}" for name in waveforms}
    assert board.Tags()["images"] == [f"4/{', '.join(waveforms)}"]
    logged = {name: board.Audio(f"4/{name}") for name in waveforms}
    assert all([event.step for event in events] == [4, 8, 12, 16] for events in logged.values())
    sounds = {}
    for name, events in logged.items():
        path = adamw_run / "logged.wav"
        path.write_bytes(events[-1].encoded_audio_string)
        sounds[name], rate = soundfile.read(path)
        assert rate == SAMPLE_RATE
        assert sounds[name].shape == (SAMPLE_RATE,)
    scale = 1 / max(1, max(np.abs(load_tracks("pairs", dataset, split="dev")[0].load().mixture[0])))
    true, _ = soundfile.read(dataset / "dev" / "vocals" / "4.wav")
    assert np.abs(sounds["reference vocals"] - scale * true).max() < 1e-4  # 16 bits
    assert np.abs(sounds["vocals"] + sounds["accompaniment"] - sounds["mixture"]).max() < 1e-4


# --- killed and resumed


def _train(settings: dict[str, Any], dataset: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    train(parse_config(settings), dataset, folder, resume=True, accelerator="cpu")


def _killed_and_resumed(settings: Config, dataset: Path, folder: Path, *, kills: int, seed: int) -> int:
    """Run to the end with SIGKILLs at random moments; returns how many processes were really killed."""
    rng, killed = random.Random(seed), 0

    def n_logged() -> int:
        path = folder / "log.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    for goal in [*sorted(rng.sample(range(1, settings.run.n_steps), kills)), None]:
        process = FORKS.Process(target=_train, args=(settings.model_dump(mode="json"), dataset, folder))
        process.start()
        while goal and process.is_alive() and n_logged() < goal:
            time.sleep(0.0005)
        if goal:
            time.sleep(rng.uniform(0, 0.05))  # a moment anywhere in a step, a scoring or a checkpoint
            process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    assert process.exitcode == 0
    return killed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("settings", "seed"),
    [
        (config(ADAMW, n_steps=12, evaluate_every=3), 1),
        (config(LBFGS, n_steps=12, evaluate_every=3), 2),
        (unet_config(n_steps=12, evaluate_every=3), 3),
    ],
    ids=["adamw", "lbfgs", "unet"],
)
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(
    dataset: Path, tmp_path: Path, settings: Config, seed: int
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(settings, dataset, whole, accelerator="cpu")
    torch.set_num_threads(threads)
    assert _killed_and_resumed(settings, dataset, broken, kills=4, seed=seed) >= 3
    assert log(broken) == log(whole)
    for name in ("best.safetensors", f"{newest(whole).name}/weights.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    means, others = (
        torch.load(newest(run) / "optimiser.pt", weights_only=True)[1] for run in (whole, broken)
    )
    assert bool(means) == (settings.optimiser.ema_decay > 0)
    assert all(torch.equal(means[name], others[name]) for name in means)
    assert {path.name for path in broken.iterdir()} == {path.name for path in whole.iterdir()}
    board = tensorboard(broken)
    assert [event.step for event in board.Scalars("loss")] == list(range(1, 13))


@pytest.mark.slow
def test_traces_of_a_kill_while_writing_are_overcome(dataset: Path, tmp_path: Path, adamw_run: Path) -> None:
    """Half a checkpoint, half a best file, two checkpoints, lines of steps undone, half a line."""
    settings = config(n_logged_tracks=1)
    folder = tmp_path / "run"

    class KilledError(Exception):
        pass

    def kill(progress: Any, values: dict[str, float]) -> None:
        if progress.step == 11:
            raise KilledError

    with pytest.raises(KilledError):
        train(settings, dataset, folder, accelerator="cpu", on_step=kill)
    older = shutil.copytree(newest(folder), folder / "checkpoint-00000004")
    (older / "weights.safetensors").unlink()  # its deletion had begun
    half = folder / ".checkpoint-00000012.part"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    (folder / ".best.safetensors.part").write_bytes(b"half")
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 12, "lo')
    train(settings, dataset, folder, resume=True, accelerator="cpu")
    assert log(folder) == log(adamw_run)
    assert (folder / "best.safetensors").read_bytes() == (adamw_run / "best.safetensors").read_bytes()
    assert newest(folder).name == "checkpoint-00000016"
    assert {path.name for path in folder.iterdir()} == {path.name for path in adamw_run.iterdir()} - {
        "logged.wav"
    }


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.pt", "progress.json"])
def test_a_damaged_checkpoint_is_named(dataset: Path, tmp_path: Path, adamw_run: Path, name: str) -> None:
    folder = shutil.copytree(adamw_run, tmp_path / "copy")
    damaged = newest(folder) / name
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(ModelError, match="checkpoint-00000016: damaged checkpoint"):
        train(config(n_logged_tracks=1), dataset, folder, resume=True, accelerator="cpu")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_weights_can_be_read_by_whom_the_umask_lets(adamw_run: Path) -> None:
    plain = adamw_run.parent / "plain"
    plain.write_text("", encoding="utf-8")
    for path in (adamw_run / "best.safetensors", newest(adamw_run) / "weights.safetensors"):
        assert path.stat().st_mode == plain.stat().st_mode


# --- two processes


def _rank(settings: dict[str, Any], dataset: Path, folder: Path, rank: int, port: int) -> None:
    """One process as torchrun starts it."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({key: str(value) for key, value in {**ranks, **place}.items()})
    torch.set_num_threads(1)
    train(parse_config(settings), dataset, folder, accelerator="cpu", devices=2)


def check_equal(one: Path, two: Path) -> None:
    """Losses and weights alike to 1e-5: two processes' gradients are summed in another order."""
    for line, other in zip(log(one), log(two), strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
    weights = load_file(newest(one) / "weights.safetensors")
    largest = max(float(tensor.abs().max()) for tensor in weights.values())
    for name, tensor in load_file(newest(two) / "weights.safetensors").items():
        assert torch.allclose(tensor, weights[name], rtol=0, atol=1e-5 * largest)


def check_alike(one: Path, two: Path) -> None:
    """Losses, gradients and nearly all weights alike.

    AdamW takes whole steps by the sign of gradients that are zero but for rounding, which differs with the
    order of the sums and with the processor.
    """
    for line, other in zip(log(one), log(two), strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-3)
    assert log(two)[0]["loss"] == pytest.approx(log(one)[0]["loss"], rel=1e-6)
    assert log(two)[0]["gradient_norm"] == pytest.approx(log(one)[0]["gradient_norm"], rel=1e-5)
    weights, others = (load_file(newest(run) / "weights.safetensors") for run in (one, two))
    errors = torch.cat([(others[name] - tensor).abs().flatten() for name, tensor in weights.items()])
    largest = max(float(tensor.abs().max()) for tensor in weights.values())
    assert errors.quantile(0.9) < 1e-4 * largest


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimiser", [{**ADAMW, "learning_rate": 1e-3}, {**LBFGS, "iterations": 2}], ids=["adamw", "lbfgs"]
)
def test_two_processes_give_the_result_of_one(
    dataset: Path, tmp_path: Path, optimiser: dict[str, Any]
) -> None:
    """Over few steps: differences of the last bit grow, as in any training."""
    settings = config(optimiser, n_steps=4, evaluate_every=2, patience=5)
    train(settings, dataset, tmp_path / "one", accelerator="cpu")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (settings.model_dump(mode="json"), dataset, tmp_path / "two")
    processes = [FORKS.Process(target=_rank, args=(*arguments, rank, port)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    check_alike(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_the_command_starts_two_processes_that_report_once(dataset: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\ndata = {dataset = "pairs", sample_rate = 8000}\n'
        "stft = {n_fft = 256, hop_length = 128}\n"
        "network = {hidden_size = 16, n_layers = 2}\nmixing = {n_frames = 20}\n"
        "optimiser = {batch_size = 4}\nrun = {n_steps = 4, evaluate_every = 2, n_logged_tracks = 0}\n",
        encoding="utf-8",
    )
    train(load_config(str(recipe)), dataset, tmp_path / "one", accelerator="cpu")
    duetto = Path(sys.executable).with_name("duetto")
    command = [duetto, "train", recipe, "--data", dataset, "--output", tmp_path / "two", "--devices", "2"]
    done = subprocess.run(
        [*command, "--accelerator", "cpu"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    check_alike(tmp_path / "one", tmp_path / "two")
