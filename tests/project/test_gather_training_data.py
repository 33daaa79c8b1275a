"""Gathering training data from copies of repositories and packages: what is taken and what is reported."""

import csv
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
RATE = 16_000
TABLE = r"""
[voices.ann]
repository = "someone/voices"
files = '^sung/.*\.(wav|ogg)$'
licence = "CC0 1.0"

[voices.shouts]
package = "game-data"
files = 'shouts/.*\.wav$'
short = true

[music.band]
repository = "someone/voices"
files = '^music/'
without = 'with-voice'

[music.away]
repository = "nobody/nothing"
files = '.'

[songs.one]
repository = "someone/voices"
sung = '^song/vox.*'
files = '^song/(?!vox).*'
"""


def noise(seconds: float, seed: int, n_channels: int = 1) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    return np.float32(0.05) * chance.standard_normal((n_channels, round(seconds * 32_000)), np.float32)


def write(path: Path, waveform: NDArray[np.float32], rate: int = 32_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T, rate)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gather", ROOT / "scripts" / "gather_training_data.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["gather"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """What the command makes of a repository and a package."""
    root = tmp_path_factory.mktemp("gather")
    repository = root / "clones" / "someone" / "voices"
    write(repository / "sung" / "a.wav", noise(2, 1, n_channels=2))
    write(repository / "sung" / "slow.wav", noise(2, 2), 8_000)
    (repository / "sung" / "broken.ogg").write_bytes(b"no audio")
    write(repository / "music" / "band.wav", noise(2, 3, n_channels=2))
    write(repository / "music" / "with-voice.wav", noise(2, 4))
    write(repository / "song" / "vox lead.wav", noise(2, 5))
    write(repository / "song" / "bass.wav", 25 * noise(2, 6))
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "songs"]):
        identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        subprocess.run(["git", *identity, *command], cwd=repository, check=True)
    (repository / "sung" / "a.wav").unlink()  # what is committed counts
    package = root / "packages" / "game-data"
    for number in range(5):
        clip = np.concatenate([np.zeros((1, 32_000), np.float32), noise(0.5, 10 + number)], axis=1)
        write(root / f"{number}.wav", clip)
        package.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(package / "data.pk3", "a") as archive:
            archive.write(root / f"{number}.wav", f"shouts/{number}.wav")
    (root / "table.toml").write_text(TABLE, encoding="utf-8")
    command = [sys.executable, ROOT / "scripts" / "gather_training_data.py", root / "data"]
    command += [
        "--clones",
        root / "clones",
        "--packages",
        root / "packages",
        "--sources",
        root / "table.toml",
    ]
    return root / "data", subprocess.run(command, check=True, capture_output=True, text=True)


def rows(data: Path) -> dict[str, dict[str, str]]:
    with (data / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


@pytest.mark.slow
def test_what_fits_is_written_and_nothing_else(gathered: tuple) -> None:
    data, _ = gathered
    found = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.flac"))
    assert found == [
        "music/band-000.flac",
        "songs/one/bass.flac",
        "songs/one/vocals-vox_lead.flac",
        "sung/ann-000.flac",
        "sung/shouts-000.flac",
    ]
    assert sorted(rows(data)) == found


@pytest.mark.slow
def test_voices_are_mono_and_all_is_at_the_rate_of_the_training(gathered: tuple) -> None:
    data, _ = gathered
    for name, n_channels, seconds in (("sung/ann-000", 1, 2), ("music/band-000", 2, 2)):
        info = soundfile.info(data / f"{name}.flac")
        assert (info.channels, info.samplerate, info.frames) == (n_channels, RATE, seconds * RATE)


@pytest.mark.slow
def test_what_was_too_loud_is_scaled_and_what_was_not_is_as_it_was(gathered: tuple) -> None:
    data, _ = gathered
    loud, _ = soundfile.read(data / "songs" / "one" / "bass.flac")
    assert np.abs(loud).max() == pytest.approx(0.99, abs=1e-3)
    soft, _ = soundfile.read(data / "music" / "band-000.flac")
    assert np.sqrt(np.mean(soft**2)) == pytest.approx(0.05 / np.sqrt(2), rel=0.05)  # half of the band


@pytest.mark.slow
def test_short_clips_are_joined_without_their_silence(gathered: tuple) -> None:
    data, _ = gathered
    shouts, _ = soundfile.read(data / "sung" / "shouts-000.flac")
    assert shouts.size == pytest.approx(5 * 0.5 * RATE, rel=0.05)


@pytest.mark.slow
def test_the_manifest_says_where_a_file_is_from_and_its_licence(gathered: tuple) -> None:
    data, _ = gathered
    row = rows(data)["sung/ann-000.flac"]
    assert (row["source"], row["paths"], row["licence"]) == ("someone/voices", "sung/a.wav", "CC0 1.0")
    assert len(row["commit"]) == 40
    assert row["seconds"] == "2.0"
    assert rows(data)["music/band-000.flac"]["licence"] == "not stated"
    assert rows(data)["sung/shouts-000.flac"]["source"] == "Debian game-data"


@pytest.mark.slow
def test_what_is_left_out_is_reported(gathered: tuple) -> None:
    _, ended = gathered
    assert "broken.ogg" in ended.stderr
    assert "slow.wav: 8000 Hz, fewer than the 16000 Hz" in ended.stderr
    assert "missing: nobody/nothing" in ended.stderr
    assert "5 files" in ended.stdout


@pytest.mark.slow
def test_sources_without_a_licence_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "table.toml").write_text(TABLE, encoding="utf-8")
    command = [sys.executable, ROOT / "scripts" / "gather_training_data.py", "--list", "--with-licence"]
    listed = subprocess.run(
        [*command, "--sources", tmp_path / "table.toml"], check=True, capture_output=True, text=True
    )
    assert listed.stdout == "ann\tvoices\tsomeone/voices\tCC0 1.0\n"


def test_the_table_that_ships_can_be_read(script: ModuleType) -> None:
    sources = script.load_sources()
    assert len({source.name for source in sources}) == len(sources)
    for source in sources:
        assert bool(source.repository) != bool(source.package)
        assert source.files or source.sung
        assert source.kind == "songs" or not source.sung
    reserved = ("CVSSP", "musdb", "dsd100")  # songs that models are scored on
    assert not any(name.lower() in source.origin.lower() for name in reserved for source in sources)


@pytest.mark.parametrize(
    ("repository", "path"),
    [
        ("squallooo/MT5", "client/multitrack/John McKay - Daisy Daisy/11_LeadVox1.mp3"),
        ("squallooo/MT5", "client/multitrack/AdmiralCrumple_KeepsFlowing/07_LeadVox.mp3"),
        *[
            ("Jan-Weigang/Patchwerk-Multitrack", f"static/music/Rock/{song}_Vocals.mp3")
            for song in ("contra", "knockout", "stitch", "alright", "success", "blind", "apart")
        ],
    ],
)
def test_reserved_songs_of_other_repositories_do_not_train(
    script: ModuleType, repository: str, path: str
) -> None:
    further = ROOT / "scripts" / "further_training_sources.toml"
    sources = script.load_sources() + script.load_sources(further)
    of_it = [source for source in sources if source.origin == repository]
    assert of_it
    assert not any(
        re.search(pattern, path) for source in of_it for pattern in (source.sung, source.files) if pattern
    )
