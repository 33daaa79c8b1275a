"""Random files give what went in, or what FFmpeg gives, or a refusal with the right reason."""

import importlib.util
import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from duetto.audio import AudioReader

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "differential_audio.py"
N, SEED = 50, 11


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("differential_audio", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    av.logging.set_level(av.logging.PANIC)
    yield module
    av.logging.restore_default_callback()


def test_random_files_are_read_whole_or_refused(script):
    verdicts = {index: script.judged(script.case(index, SEED)) for index in range(N)}
    assert {index: verdict for index, verdict in verdicts.items() if "FAULT" in verdict} == {}
    kinds = [verdict.split(":")[0] for verdict in verdicts.values()]
    assert min(map(kinds.count, ("right", "as FFmpeg", "refused"))) > N / 25  # all three are tried


def test_a_case_is_known_by_its_number(script):
    first, again, other = script.case(3, SEED), script.case(3, SEED), script.case(4, SEED)
    assert (first.form, first.change, first.rate) == (again.form, again.change, again.rate)
    assert first.data != other.data


def test_wrong_lengths_orders_and_samples_are_faults(script):
    samples = script.song(np.random.default_rng(0), 2, 8000)
    data = io.BytesIO()
    soundfile.write(data, samples.T, 8000, "PCM_16", format="WAV")

    def verdict(truth, rate=8000, change="none"):
        form = script.Form("WAV", None)
        return script.judged(script.Case(form, change, rate, data.getvalue(), truth))

    with AudioReader(data.getvalue()) as reader:
        assert reader.info.n_samples == samples.shape[1]
    assert verdict(samples) == "right"
    assert verdict(samples[:, :-1]).startswith("FAULT")
    assert verdict(samples[::-1]).startswith("FAULT")
    assert verdict(samples[:, ::-1]).startswith("FAULT")
    assert verdict(samples + 2**-16).startswith("FAULT")
    assert verdict(samples, rate=16_000).startswith("FAULT")
    assert verdict(None, change="joined with another kind").startswith("FAULT")
    assert script.refusal(script.Case(None, "none", 8000, b"", samples), "is truncated").startswith("FAULT")
    assert (
        script.refusal(script.Case(None, "cut off", 8000, b"", None), "is truncated") == "refused: truncated"
    )
