"""`duetto check` and the options of `duetto separate`, as users type them."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from duetto.audio import save_audio
from duetto.errors import AudioError
from duetto.separation.null_test import null_test
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.command_line import command, duetto
from helpers.quick import at_most
from helpers.tiny import TinyModel

RATE = 16_000


pytestmark = pytest.mark.usefixtures("here")


def song(path="song.wav", subtype="PCM_16", n_samples=20_000, n_channels=2, rate=RATE):
    audio = np.random.default_rng(7).uniform(-0.6, 0.6, (n_samples, n_channels))
    soundfile.write(path, audio, rate, subtype)
    return Path(path)


def separate(path, **options):
    separator = Separator(TinyModel(), segment_seconds=0.4, overlap_seconds=0.1)
    return list(separator.separate_file(path, "out", FileOptions(**options)).paths.values())


# --- the null test -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_stems_pass_and_stems_a_step_off_fail(subtype):
    path = song(subtype=subtype)
    stems = separate(path)
    result = null_test(stems, path)
    assert result.n_beyond == 0
    assert result.passes()
    assert result.disagreements == ()
    vocals, rate = soundfile.read(stems[0], dtype="float64")
    vocals[1234, 1] += 2 ** -(7.0 if result.bits is None else result.bits - 1)
    soundfile.write(stems[0], vocals, rate, subtype)
    result = null_test(stems, path)
    assert result.n_beyond == 1
    assert not result.passes()
    if result.bits:
        assert result.residual == 1
        assert result.residual_dbfs == pytest.approx(-20 * np.log10(2) * (result.bits - 1))
        assert not result.passes(-200.0)
    assert result.passes(-42.0)


@at_most(15)
@given(st.data(), st.sampled_from([8, 16, 24]), st.integers(1, 300))
def test_the_residual_and_the_clipped_samples_are_counted(tmp_path, data, bits, n_samples):
    """Against a plain count, over blocks shorter than the file."""
    top = 2 ** (bits - 1)
    values = st.sampled_from([-top, -1, 0, 1, top - 1])
    files = {
        name: np.array(data.draw(st.lists(values, min_size=n_samples, max_size=n_samples)))
        for name in ("a", "b", "mixture")
    }
    subtype = "PCM_U8" if bits == 8 else f"PCM_{bits}"
    for name, samples in files.items():
        scaled = (samples << (32 - bits)).astype(np.int32)
        soundfile.write(tmp_path / f"{name}.wav", scaled, RATE, subtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("duetto.separation.null_test._BLOCK", 7)
        result = null_test([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "mixture.wav")
    off = np.abs(files["a"] + files["b"] - files["mixture"])
    assert (result.residual, result.n_beyond) == (off.max(), np.count_nonzero(off))
    for check, samples in zip(
        (result.mixture, *result.stems), (files["mixture"], files["a"], files["b"]), strict=True
    ):
        full = np.pad((samples == -top) | (samples == top - 1), 1)
        assert check.n_clipped == np.count_nonzero(full[1:-1] & (full[:-2] | full[2:]))
        assert check.peak == np.abs(samples / top).max()


def test_depths_are_brought_together():
    path = song(subtype="PCM_16")
    result = null_test(separate(path, bit_depth="24"), path)
    assert (result.bits, result.residual) == (24, 0)
    assert null_test(separate(song("deep.wav", "PCM_24"), bit_depth="16"), Path("deep.wav")).residual <= 2**8


def test_what_differs_is_named():
    path = song()
    stems = separate(path)
    soundfile.write(stems[0], np.zeros((19_999, 1)), 8000, "PCM_16")
    result = null_test(stems, path)
    assert result.disagreements == (
        f"{stems[0]} has 19999 samples, the mixture 20000",
        f"{stems[0]} has 8000 Hz, the mixture 16000",
        f"{stems[0]} has 1 channels, the mixture 2",
    )
    assert not result.passes()
    assert not result.passes(100.0)


def test_a_folder_stands_for_its_files(here):
    path = song()
    folder = separate(path)[0].parent
    (folder / "notes.txt").write_text("not audio")
    assert len(null_test(folder, path).stems) == 2
    (here / "empty").mkdir()
    with pytest.raises(AudioError, match="holds no audio files"):
        null_test(here / "empty", path)


@pytest.mark.slow
def test_a_check_takes_the_memory_of_a_block():
    for name in ("song.wav", "a.wav", "b.wav"):
        song(name, n_samples=1_500_000)
    tracemalloc.start()
    null_test(["a.wav", "b.wav"], "song.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000  # bytes; the three are 36 million as int32


def test_the_command_prints_residual_peaks_and_clips(tiny_model):
    path = song()
    stems = duetto("separate", path, "-n", tiny_model, "-o", "out").out
    outcome = duetto("check", *stems, path)
    assert (outcome.code, outcome.err) == (0, [])
    assert [line.partition(":")[0] for line in outcome.out] == [str(path), *stems, "null residual"]
    assert outcome.out[0].endswith("dBFS, 0 clipped (20000 samples, 2 channels, 16000 Hz, PCM_16)")
    assert outcome.out[-1] == "null residual: 0, the stems sum to the mixture exactly"
    assert duetto("check", "out/tiny/song", path).code == 0
    outcome = duetto("check", stems[0], path)
    assert outcome.code == 1
    assert outcome.out[-1].startswith("null residual: ")
    assert " of 2**15 (" in outcome.out[-1]


def test_the_command_tells_of_lossy_files_and_takes_a_tolerance(tiny_model):
    path = song(rate=44_100)
    stems = duetto("separate", path, "-n", tiny_model, "-o", "out", "--format", "ogg").out
    outcome = duetto("check", *stems, path)
    assert outcome.code == 1
    assert outcome.err == [
        f"duetto: in a lossy format, so no exact sum can be expected (see --tolerance): {', '.join(stems)}"
    ]
    assert duetto("check", *stems, path, "--tolerance", "6").code == 0
    assert duetto("check", *stems, path, "--tolerance", "-100").code == 1


# --- separate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "n_samples"),
    [
        (["--start", "0.5"], 12_000),
        (["--end", "0:00.25"], 4000),
        (["--start", "0:0:0.5", "--end", "00:01"], 8000),
    ],
)
def test_a_part_of_a_song(tiny_model, options, n_samples):
    outcome = duetto("separate", song(), "-n", tiny_model, *options)
    assert [soundfile.info(path).frames for path in outcome.out] == [n_samples] * 2


def test_one_stem_or_a_mix(tiny_model):
    path = song()
    assert duetto("separate", path, "-n", tiny_model, "--stem", "vocals").out == [
        "separated/tiny/song/vocals.wav"
    ]
    outcome = duetto(
        "separate", path, "-n", tiny_model, "-o", "a", "--stem", "accompaniment", "--format", "flac"
    )
    assert outcome.out == ["a/tiny/song/accompaniment.flac"]
    outcome = duetto("separate", path, "-n", tiny_model, "-o", "b", "--mix", "vocals=-6dB, accompaniment=0")
    assert outcome.out == ["b/tiny/song/mix.wav"]


@pytest.mark.parametrize(
    ("options", "reason", "code"),
    [
        (["--start", "1:2:3:4"], "is not a time", 2),
        (["--end", "-3"], "is not a time", 2),
        (["--mix", "vocals"], "write each level once", 2),
        (["--mix", "vocals=1,vocals=2"], "write each level once", 2),
        (["--mix", "drums=0"], "'drums'", 1),
        (["--mix", "vocals=0", "--stem", "vocals"], "--stem and --mix exclude each other", 2),
        (["--start", "9"], "it lasts 1.250 seconds", 1),
        (["--bitrate", "5"], "--bitrate", 2),
        (["--bitrate", "99"], "--bitrate needs --format mp3, opus, m4a", 2),
        (["--quality", "3", "--bitrate", "128"], "--bitrate and --quality exclude each other", 2),
    ],
)
def test_options_that_cannot_be_met(tiny_model, options, reason, code):
    outcome = duetto("separate", song(), "-n", tiny_model, "-o", "out", *options)
    assert (outcome.code, len(outcome.err)) == (code, 1)
    assert reason in outcome.err[0]
    assert not Path("out/tiny").exists()


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3"])
def test_standard_input_a_path_and_an_array_give_the_same_samples(tiny_model, extension):
    path = Path(f"song.{extension}")
    save_audio(path, np.random.default_rng(3).uniform(-0.5, 0.5, (2, 30_000)), 44_100)
    options = ("-n", tiny_model, "-o", "out", "--bit-depth", "32f")
    piped = duetto("separate", "-", *options, stdin=path.read_bytes())
    named = duetto("separate", path, *options)
    assert piped.out == [f"out/tiny/stdin/{stem}.wav" for stem in ("vocals", "accompaniment")]
    audio, rate = soundfile.read(path, dtype="float32")
    stems = Separator(tiny_model).separate(audio.T, rate)
    for one, other, stem in zip(piped.out, named.out, stems.values(), strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()
        np.testing.assert_array_equal(soundfile.read(one, dtype="float32")[0].T, stem)


@pytest.mark.slow
def test_standard_input_of_a_process(tiny_model, here):
    import subprocess

    content = song().read_bytes()
    done = subprocess.run(
        command("separate", "-", "-n", tiny_model), input=content, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 2
    done = subprocess.run(
        command("separate", "-", "-n", tiny_model), input=b"la la", capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"stdin is not an audio file" in done.stderr
