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


@pytest.mark.slow
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

    def verdict(expected, rate=8000, change="none"):
        form = script.Form("WAV", None)
        return script.judged(script.Case(form, change, rate, data.getvalue(), expected))

    with AudioReader(data.getvalue()) as reader:
        assert reader.info.n_samples == samples.shape[1]
    assert verdict(samples) == "right"
    assert verdict(samples[:, :-1]).startswith("FAULT")
    assert verdict(samples[::-1]).startswith("FAULT")
    assert verdict(samples[:, ::-1]).startswith("FAULT")
    assert verdict(samples + 2**-16).startswith("FAULT")
    assert verdict(samples, rate=16_000).startswith("FAULT")
    assert verdict(None, change="joined with another kind").startswith("FAULT")


def test_a_refusal_is_right_for_the_change_it_fits_only(script):
    def verdict(change, message):
        return script.refusal(script.Case(None, change, 8000, b"", None), message)

    for reason in ("truncated", "holds no samples", "holds no sound"):
        assert verdict("cut off", f"the song {reason}; give a file") == f"refused: {reason}"
        assert verdict("none", f"the song {reason}; give a file").startswith("FAULT")
    assert verdict("cut off", "the song consists of 2 files").startswith("FAULT")
    audible = script.by_libsndfile("WAV", "PCM_16")(script.song(np.random.default_rng(0), 2, 8000), 8000)
    cut = script.Case(None, "cut off", 8000, audible, None)
    assert script.refusal(cut, "the song holds no samples; give a file").startswith("FAULT")


@pytest.mark.parametrize("n_channels", [1, 3])
def test_the_byte_that_pads_an_aiff_of_one_byte_per_sample_is_no_sample(script, n_channels):
    samples = script.song(np.random.default_rng(0), n_channels, 8000)
    samples = samples[:, : samples.shape[1] - 1 + samples.shape[1] % 2]
    data = script.by_libsndfile("AIFF", "ULAW")(samples, 8000)
    form = script.Form("AIFF ULAW", None, decibels=-20)
    assert int.from_bytes(data[data.index(b"SSND") + 4 :][:4], "big") == samples.size + 8
    assert script.judged(script.Case(form, "none", 8000, data, samples)) == "right"


@pytest.mark.slow
def test_an_encoder_keeps_the_low_frequency_channel_at_every_rate(script):
    form = next(form for form in script.FORMS if form.name == "M4A AAC")
    for rate in form.rates:
        samples = script.song(np.random.default_rng(1), 6, rate)
        assert script.judged(script.Case(form, "none", rate, form.make(samples, rate), samples)) == "right"
