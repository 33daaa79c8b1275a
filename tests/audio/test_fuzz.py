"""Damaged files are separated or refused, and nothing else; `scripts/fuzz_audio.py` does the damage."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_audio.py"
N = 250


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_audio", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of memory and time as Linux has them"
)
def test_damaged_files_are_separated_or_refused():
    """In processes of their own, so that a crash of a decoder would be seen and not end the tests."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--n", str(N), "--seed", "7"], capture_output=True, text=True, check=False
    )
    *bad, counts, memory = done.stdout.splitlines()
    assert bad == []
    assert done.returncode == 0
    found = {what: int(n) for n, what in (each.split() for each in counts.split(", "))}
    assert found["separated"] + found["refused"] == N
    assert min(found["separated"], found["refused"]) > N / 10  # the damages are neither too mild nor too hard
    assert int(memory.split()[-2]) < 1000  # MB


@pytest.mark.slow
def test_the_fuzzer_sees_faults_of_ours(fuzz, tmp_path):
    song = fuzz.originals(tmp_path)["tagged WAV PCM_16"]
    (tmp_path / "song").write_bytes(song)

    class Broken(fuzz.Estimator):
        def masks(self, magnitude):
            return {}["fault"]

    attempt = fuzz.attempt(tmp_path / "song", tmp_path / "out", fuzz.Separator(Broken()))
    assert attempt.startswith("FAULT")
    assert "KeyError: 'fault'" in attempt
    (tmp_path / "song").write_bytes(song[:1000])
    good = fuzz.Separator(fuzz.Estimator())
    assert fuzz.attempt(tmp_path / "song", tmp_path / "out", good) == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("kill", ["os.kill(os.getpid(), 11)", "time.sleep(60)"])
def test_the_fuzzer_sees_crashes_and_hangs_and_goes_on(fuzz, tmp_path, monkeypatch, kill):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, signal, sys, time\n"
        "first, n = int(sys.argv[3]), int(sys.argv[5])\n"
        "for k in range(first, first + n):\n"
        "    print(f'{k}\\tbegin\\tWAV', flush=True)\n"
        "    if k == 1:\n"
        f"        signal.setitimer(signal.ITIMER_REAL, 0.1); {kill}\n"
        "    print(f'{k}\\tend\\tseparated', flush=True)\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(worker))
    outcomes = [(index, outcome) for index, _, outcome in fuzz.watched(0, 4, 0)]
    bad = "HANG" if "sleep" in kill else "CRASH -11"
    assert outcomes == [(0, "separated"), (1, bad), (2, "separated"), (3, "separated")]


def test_a_mutation_is_known_by_its_number(fuzz):
    data = bytes(range(256)) * 20
    first, again, other = (fuzz.mutated(data, [data], random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first != data
