"""Recordings of one source: which are found, which train, and how the others are scored."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from duetto.errors import ConfigError, DatasetError, DuettoWarning
from duetto.training.config import DataConfig
from duetto.training.data.sources import SoloFile, held_out_mixtures, list_solo_files, load_data
from duetto.training.data.stored_audio import take

RATE = 8000


def noise(seconds: float, seed: int, rate: int = RATE) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    return np.float32(0.05 + 0.05 * (seed % 3)) * chance.standard_normal(int(seconds * rate), np.float32)


def write(path: Path, waveform: NDArray[np.float32], rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lossy = {".ogg": {"format": "OGG", "subtype": "VORBIS"}, ".opus": {"format": "OGG", "subtype": "OPUS"}}
    soundfile.write(path, waveform.T, rate, **lossy.get(path.suffix, {"subtype": "FLOAT"}))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in `songs`, four voices and three pieces of music, of which two and one are `kept-*`."""
    root = tmp_path_factory.mktemp("root")
    for split, names in (("train", "ab"), ("dev", "c")):
        for name in names:
            for source in ("vocals", "accompaniment"):
                write(root / "songs" / split / source / f"{name}.wav", noise(0.3, ord(name)))
    for k, name in enumerate(("ann.wav", "bea.ogg", "kept-1.wav", "kept-2.wav")):
        write(root / "voices" / name, noise(13 if name == "kept-1.wav" else 0.5 + 0.1 * k, 10 + k))
    write(root / "band" / "drums.wav", noise(0.6, 20, 16_000), 16_000)
    write(root / "band" / "kept-band.wav", np.stack([noise(14, 21), noise(14, 22)]))
    write(root / "more" / "flute.opus", noise(0.7, 23))
    (root / "voices" / "licence.txt").write_text("free", encoding="utf-8")
    (root / "empty").mkdir()
    (root / "empty" / "readme.txt").write_text("", encoding="utf-8")
    return root


def config(**changes: object) -> DataConfig:
    settings = {
        "dataset": "pairs",
        "folder": "songs",
        "sample_rate": RATE,
        "solo_vocals": ["voices"],
        "solo_accompaniment": ["band", "more"],
        "held_out_recordings": ["kept-*"],
    }
    return DataConfig.model_validate({**settings, **changes})


def test_every_format_is_found_and_other_files_are_not(root: Path) -> None:
    found = [(solo.path.name, solo.source, solo.held_out) for solo in list_solo_files(config(), root)]
    assert found == [
        ("ann.wav", "vocals", False),
        ("bea.ogg", "vocals", False),
        ("kept-1.wav", "vocals", True),
        ("kept-2.wav", "vocals", True),
        ("drums.wav", "accompaniment", False),
        ("kept-band.wav", "accompaniment", True),
        ("flute.opus", "accompaniment", False),
    ]


def test_a_solo_is_one_source_at_the_rate_of_the_recipe(root: Path) -> None:
    """Music keeps both of its channels, but no more than two; a voice is mono."""
    solos = {solo.path.stem: solo for solo in list_solo_files(config(), root)}
    ann, drums, band = (solos[name].load(RATE) for name in ("ann", "drums", "kept-band"))
    assert np.array_equal(ann, noise(0.5, 10)[None])
    assert drums.shape == (1, int(0.6 * RATE))  # from 16 kHz
    assert np.array_equal(band, [noise(14, 21), noise(14, 22)])
    quadraphonic = np.stack([noise(1, seed) for seed in range(4)])
    write(root / "four.wav", quadraphonic)
    four = SoloFile(root / "four.wav", "accompaniment", held_out=False).load(RATE)
    assert np.allclose(four, quadraphonic.mean(0), atol=1e-7)
    choir = SoloFile(root / "four.wav", "vocals", held_out=False).load(RATE)
    assert choir.shape == (1, RATE)


def test_a_solo_of_a_lower_rate_than_the_recipes_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"ann\.wav: its sample rate is 8000 Hz, below"):
        SoloFile(root / "voices" / "ann.wav", "vocals", held_out=False).load(16_000)
    settings = config(sample_rate=16_000)
    track, *_ = held_out_mixtures(list_solo_files(settings, root), settings)
    with pytest.raises(DatasetError, match=r"kept-1\.wav: its sample rate is 8000 Hz"):
        track.load()


def test_sampling_weights_are_those_of_the_first_pattern_that_fits(root: Path) -> None:
    weights = {"ann": 0.0, "*n*": 2.0, "fl*": 0.5}
    found = {
        solo.path.stem: solo.sampling_weight
        for solo in list_solo_files(config(sampling_weights=weights), root)
    }
    assert found == {
        "ann": 0, "bea": 1, "kept-1": 1, "kept-2": 1, "drums": 1, "kept-band": 2, "flute": 0.5
    }  # fmt: skip
    sources, _ = load_data(config(sampling_weights=weights), root)
    assert [source.sampling_weight for source in sources] == [1, 1, 0, 1, 1, 0.5]  # the pairs, then the solos


def test_rumble_is_taken_from_the_voices_that_train_alone(tmp_path: Path) -> None:
    seconds = np.arange(4 * RATE) / RATE
    low, high = (np.sin(2 * np.pi * hertz * seconds).astype(np.float32) for hertz in (30, 200))
    for name in ("voices/ann", "voices/kept-1", "band/kept-2", "band/drums", "songs/train/vocals/a"):
        write(tmp_path / f"{name}.wav", low + high)
    for name in ("train/accompaniment/a", "dev/vocals/c", "dev/accompaniment/c"):
        write(tmp_path / "songs" / f"{name}.wav", low + high)
    settings = config(solo_accompaniment=["band"], vocals_high_pass=70)
    sources, dev = load_data(settings, tmp_path)
    middle = slice(RATE, 3 * RATE)
    for source in sources:
        if source.vocals is not None:
            assert source.vocals.dtype == np.float32
            assert np.allclose(source.vocals[0, middle], high[middle], atol=0.01)
        if source.accompaniment is not None:
            assert np.array_equal(source.accompaniment[0], low + high)
    assert [np.array_equal(track.load().sources["vocals"][0], low + high) for track in dev] == [True, True]
    plain, _ = load_data(config(solo_accompaniment=["band"]), tmp_path)
    assert all(np.array_equal(s.vocals[0], low + high) for s in plain if s.vocals is not None)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A multitrack song with two sung tracks, another that is played alone, and pairs."""
    for split, name in (("train", "a"), ("dev", "c")):
        for source in ("vocals", "accompaniment"):
            write(tmp_path / "songs" / split / source / f"{name}.wav", noise(0.3, ord(name)))
    tracks = {"vocals-lead": noise(0.5, 1), "vocals-choir": np.stack([noise(0.6, 2), noise(0.6, 3)])}
    tracks |= {"bass": noise(0.7, 4), "guitars": np.stack([noise(0.6, 5), noise(0.6, 6)])}
    for name, waveform in tracks.items():
        write(tmp_path / "multitracks" / "one" / f"{name}.wav", waveform)
    write(tmp_path / "multitracks" / "two" / "drums.wav", noise(0.4, 7))
    return tmp_path


MULTITRACKS = {"solo_vocals": [], "solo_accompaniment": [], "held_out_recordings": []}


def test_a_multitrack_song_is_its_tracks_and_their_sums(songs: Path) -> None:
    changes = {"multitracks": ["multitracks"], "sampling_weights": {"multitrack-o*": 5.0}}
    sources, _ = load_data(config(**MULTITRACKS, **changes), songs)
    one, two = sources[1:]
    assert [voice.shape for voice in one.vocal_tracks] == [(1, 5600), (1, 5600)]
    assert [part.shape for part in one.tracks] == [(1, 5600), (2, 5600)]
    lead, choir = np.pad(noise(0.5, 1), (0, 1600)), np.pad((noise(0.6, 2) + noise(0.6, 3)) / 2, (0, 800))
    assert np.abs(one.vocals - (lead + choir)).max() < 1e-6
    right = noise(0.7, 4) + np.pad(noise(0.6, 6), (0, 800))
    assert np.abs(one.accompaniment[1] - right).max() < 1e-6
    assert (one.sampling_weight, two.sampling_weight) == (5.0, 1.0)
    assert two.vocals is None
    assert two.vocal_tracks == ()


def test_songs_of_a_dataset_train_with_their_tracks(tmp_path: Path) -> None:
    """Those that are held out are scored in stereo."""
    for song, seed in (("a", 1), ("b", 4)):
        write(tmp_path / song / "vocals.wav", noise(0.5, seed))
        write(tmp_path / song / "vocals-choir.wav", noise(0.4, seed + 1))
        write(tmp_path / song / "accompaniment.wav", np.stack([noise(0.5, seed + 2), noise(0.5, 9)]))
    data = DataConfig(
        dataset="songs", sample_rate=RATE, train_split="all", validation_split="", n_held_out_songs=1
    )
    (one,), (held_out,) = load_data(data, tmp_path)
    assert [voice.shape for voice in one.vocal_tracks] == [(1, 4000), (1, 4000)]
    assert np.allclose(one.vocals[0], noise(0.5, 1) + np.pad(noise(0.4, 2), (0, 800)), atol=1e-6)
    assert np.array_equal(one.accompaniment, [noise(0.5, 3), noise(0.5, 9)])
    assert np.array_equal(one.tracks[0], one.accompaniment)
    assert held_out.name == "b"
    assert held_out.load().sources["vocals"].shape == (2, 4000)
    stored, _ = load_data(data.model_copy(update={"store": ".stored"}), tmp_path)
    for _ in range(2):  # the store is no song
        assert [recording.vocals.shape for recording in stored] == [(1, 4000)]
        stored, _ = load_data(data.model_copy(update={"store": ".stored"}), tmp_path)


def test_a_store_holds_what_would_be_in_memory(songs: Path) -> None:
    changes = {"multitracks": ["multitracks"], "vocals_high_pass": 70.0, **MULTITRACKS}
    held, _ = load_data(config(**changes), songs)
    for _ in range(2):  # written, then read
        stored, _ = load_data(config(store="store", **changes), songs)
        assert len(stored) == len(held)
        for one, other in zip(held, stored, strict=True):
            for kind in ("vocals", "accompaniment"):
                expected, found = getattr(one, kind), getattr(other, kind)
                if expected is None:
                    assert found is None
                else:
                    taken = take(found, 0, expected.shape[-1])
                    assert np.abs(taken - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_is_held_out_never_trains(root: Path) -> None:
    sources, dev = load_data(config(held_out_songs=["a"]), root)
    trained = [waveform for track in sources for waveform in (track.vocals, track.accompaniment)]
    lengths = sorted(waveform.size for waveform in trained if waveform is not None)
    assert len(sources) == 5  # song b, two voices, two pieces of music
    assert max(lengths) < RATE
    kept = [noise(13, 12), noise(0.8, 13), (noise(14, 21) + noise(14, 22)) / 2, noise(0.3, ord("a"))]
    for waveform in trained:
        for other in kept if waveform is not None else []:
            n_samples = min(waveform.shape[-1], other.size, 1000)
            assert np.abs(np.corrcoef(waveform[:, :n_samples], other[:n_samples])[-1, :-1]).max() < 0.2
    assert [track.name for track in dev] == ["c", "a", "kept-1 over kept-band", "kept-2 over kept-band"]


def test_held_out_mixtures_have_equal_energy_and_at_most_12_seconds(root: Path) -> None:
    long, short = held_out_mixtures(list_solo_files(config(), root), config())
    assert (long.song, short.song) == ("kept-1", "kept-2")
    for track, n_samples in ((long, 12 * RATE), (short, int(0.8 * RATE))):
        audio = track.load()
        assert audio.sample_rate == RATE
        vocals, accompaniment = (audio.sources[name] for name in ("vocals", "accompaniment"))
        assert vocals.shape == accompaniment.shape == (1, n_samples)
        energies = [np.square(source, dtype=float).sum() for source in (vocals, accompaniment)]
        assert energies[0] == pytest.approx(energies[1], rel=1e-5)
        assert np.array_equal(audio.mixture, track.load().mixture)
    vocals = long.load().sources["vocals"][0]
    assert np.corrcoef(vocals, noise(13, 12)[: 12 * RATE])[0, 1] > 0.9999  # the beginning
    music = long.load().sources["accompaniment"][0]
    middle = ((noise(14, 21) + noise(14, 22)) / 2)[RATE : 13 * RATE]
    assert np.allclose(music, middle, atol=1e-6)


def test_voices_go_round_the_held_out_music(root: Path) -> None:
    held = config(held_out_recordings=["*"])
    pairs = [track.name for track in held_out_mixtures(list_solo_files(held, root), held)]
    assert pairs == [
        "ann over drums", "bea over kept-band", "kept-1 over flute", "kept-2 over drums"
    ]  # fmt: skip


def test_a_silent_voice_is_no_error_of_its_mixture(tmp_path: Path) -> None:
    write(tmp_path / "voices" / "kept-0.wav", np.zeros(RATE, np.float32))
    write(tmp_path / "band" / "kept-1.wav", noise(1, 1))
    held = config(solo_accompaniment=["band"])
    (track,) = held_out_mixtures(list_solo_files(held, tmp_path), held)
    assert np.array_equal(track.load().mixture[0], noise(1, 1))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"solo_vocals": ["empty"]}, DatasetError, r"empty holds no recordings; data\.solo_vocals"),
        ({"solo_vocals": ["nowhere"]}, DatasetError, r"nowhere holds no recordings; data\.solo_vocals"),
        (
            {"solo_accompaniment": ["band", "empty"]},
            DatasetError,
            r"empty holds no recordings; data\.solo_accompaniment",
        ),
        (
            {"held_out_recordings": ["kept-*", "keept-*"]},
            DatasetError,
            r"data\.held_out_recordings: no recording is named 'keept-\*'",
        ),
        (
            {"held_out_singers": ["amy"]},
            ConfigError,
            r"data\.held_out_singers: there is no singer 'amy' in the split 'train'",
        ),
        ({"held_out_songs": ["z"]}, ConfigError, r"data\.held_out_songs: there is no song 'z' in the split"),
        ({"held_out_songs": ["a", "b"]}, ConfigError, "0 tracks for training"),
        ({"folder": "tapes"}, DatasetError, "not a directory: .*tapes"),
    ],
)
def test_a_mistake_is_named(
    root: Path, changes: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        load_data(config(**changes), root)


@pytest.mark.parametrize("setting", ["sampling_weights", "bandwidths"])
def test_settings_of_recordings_that_are_not_there_are_named(root: Path, setting: str) -> None:
    with pytest.warns(DuettoWarning, match=rf"data\.{setting}: no recording is named anne, metal-\*$"):
        recordings, _ = load_data(config(**{setting: {"ann": 2, "anne": 2, "metal-*": 3}}), root)
    assert [getattr(each, setting.removesuffix("s")) for each in recordings].count(2) == 1


def test_held_out_singers_are_scored_and_not_trained_on(tmp_path: Path) -> None:
    for seed, clip in enumerate(("ani_1_01", "ani_2_01", "titon_1_02", "titon_3_01")):
        write(tmp_path / f"{clip}.wav", np.stack([noise(0.1, seed, 16_000)] * 2), 16_000)
    held = DataConfig(train_split="test", validation_split="", held_out_singers=("titon",))
    sources, dev = load_data(held, tmp_path)
    assert [track.name for track in dev] == ["titon_1_02", "titon_3_01"]
    assert len(sources) == 2
    assert np.array_equal(sources[0].accompaniment[0], noise(0.1, 0, 16_000))
