"""One contract for every dataset: what was written, in which channel or file, is what comes out."""

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from duetto.audio.stem_mp4 import StemMp4Writer
from duetto.errors import DatasetError
from duetto.evaluation.datasets import load_tracks
from helpers.signals import decibels, tone

N_SAMPLES = 300
MIR1K = Path(__file__).resolve().parents[3] / "shared/data/mir-1k"
needs_mir1k = pytest.mark.skipif(not MIR1K.is_dir(), reason="MIR-1K is not in ../shared/data")

# The papers' clips, spelled out here in another way than in the code.
MIR1K_TRAIN_COUNTS = {
    "abjones": [4, 12, 10, 8, 7],
    "amy": [7, 7, 8, 11, 8, 11, 8, 8, 7, 8, 7, 7, 7, 6, 12, 8],
}
MIR1K_ODD_SONGS = {
    "abjones_3": [1, 2, 3, 4, 6, 9, 10, 11, 12, 14],
    "amy_15": [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13],
}
MIR1K_DEV = ["abjones_5_08", "abjones_5_09", "amy_9_08", "amy_9_09"]
MIR1K_TEST = ["Ani_1_01", "Ani_1_02", "titon_10_03"]
IKALA_SONGS = [str(song) for song in range(10001, 10207)]


def mir1k_train() -> list[str]:
    names = []
    for singer, counts in MIR1K_TRAIN_COUNTS.items():
        for song, count in enumerate(counts, start=1):
            clips = MIR1K_ODD_SONGS.get(f"{singer}_{song}", range(1, count + 1))
            names += [f"{singer}_{song}_{clip:02d}" for clip in clips]
    return names


def one_after_the_other(seed: int, n_channels: int, n_parts: int = 1) -> list[np.ndarray]:
    """Vocals, which play in the first half alone, and parts of an accompaniment, in the second alone."""
    rng = np.random.default_rng(seed)
    sources = [rng.uniform(-0.3, 0.3, (n_channels, N_SAMPLES)).astype(np.float32) for _ in range(1 + n_parts)]
    sources[0][:, N_SAMPLES // 2 :] = 0
    for part in sources[1:]:
        part[:, : N_SAMPLES // 2] = 0
    return sources


def write(path: Path, audio: np.ndarray, sample_rate: int = 44100) -> None:
    """Write `audio` as the file, or as each stem of a stem.mp4 file."""
    if path.suffix == ".mp4":
        write_stem_file(path, [audio], sample_rate=sample_rate)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, sample_rate, subtype="FLOAT" if path.suffix == ".wav" else "PCM_16")


def write_clips(folder: Path, names: list[str], sample_rate: int) -> None:
    for seed, name in enumerate(names):
        vocals, accompaniment = one_after_the_other(seed, 1)
        write(folder / f"{name}.wav", np.concatenate([accompaniment, vocals]), sample_rate)


def write_mir1k(root: Path) -> None:
    write_clips(root / "Wavfile", [*mir1k_train(), *MIR1K_DEV, *MIR1K_TEST], 16000)


def write_ikala(root: Path) -> None:
    # As in the true set, 46 of 206 songs have both a chorus and a verse.
    names = [f"{song}_verse" for song in IKALA_SONGS] + [f"{song}_chorus" for song in IKALA_SONGS[::4][:46]]
    write_clips(root / "Wavfile", names, 44100)


def write_track(folder: Path, seed: int, names: list[str]) -> None:
    sources = one_after_the_other(seed, 2, len(names) - 1)
    for name, audio in zip(names, sources, strict=True):
        write(folder / f"{name}.wav", audio)


def write_musdb(root: Path) -> None:
    write_track(root / "train/Some One - First", 1, ["vocals", "drums", "bass", "other"])
    write_track(root / "train/A Band - Second feat. B", 2, ["vocals", "accompaniment"])
    write_track(root / "test/Other - Third", 3, ["vocals", "drums", "bass", "other"])


def write_stem_file(
    path: Path, stems: list[np.ndarray], *, titles: list[str] | None = None, sample_rate: int = 44100
) -> None:
    """A lossless file in the layout of MUSDB18: a mixture in stereo at 44100 Hz, then the stems."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as file:
        tracks = [(np.zeros((2, N_SAMPLES)), 44100), *((stem, sample_rate) for stem in stems)]
        streams = [
            file.add_stream("alac", rate=rate, layout="stereo" if len(audio) == 2 else "mono")
            for audio, rate in tracks
        ]
        for stream, title in zip(streams[1:], titles or [], strict=bool(titles)):
            stream.metadata["handler_name"] = title
        for stream, (audio, rate) in zip(streams, tracks, strict=True):
            samples = np.round(audio * 32768).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16p", layout=stream.layout.name)
            frame.sample_rate = rate
            file.mux([*stream.encode(frame), *stream.encode(None)])


def musdb18_sources(seed: int) -> list[np.ndarray]:
    vocals, *parts = one_after_the_other(seed, 2, 3)
    return [*parts, vocals]


def write_musdb18(root: Path) -> None:
    for seed, name in enumerate(["train/A - B", "train/C - D feat. E", "test/F. - G"]):
        write_stem_file(root / f"{name}.stem.mp4", musdb18_sources(seed))


def write_dsd100(root: Path) -> None:
    for seed, track in enumerate(["Dev/051 - A - B", "Dev/052 - C - D", "Test/001 - E - F"]):
        write_track(root / "Sources" / track, seed, ["vocals", "bass", "drums", "other"])
        write(root / "Mixtures" / track / "mixture.wav", np.zeros((2, N_SAMPLES), np.float32))


def write_pairs(root: Path) -> None:
    for seed, name in enumerate(["train/v/one", "train/v/two", "dev/v/three", "test/v/Mr. Four"]):
        vocals, accompaniment = one_after_the_other(seed, 2)
        write(root / f"{name}.wav".replace("/v/", "/vocals/"), vocals)
        write(root / f"{name}.wav".replace("/v/", "/accompaniment/"), accompaniment)


@dataclass(frozen=True)
class Case:
    dataset: str
    write: Callable[[Path], None]
    sample_rate: int
    n_channels: int
    sizes: dict[str, int]
    needed: str  # a file without which the training split cannot be
    missing: str  # how the error names it; "" where the dataset does not say which files it has


CASES = [
    Case(
        "mir1k",
        write_mir1k,
        16000,
        1,
        {"train": 171, "dev": 4, "test": 3},
        "Wavfile/amy_9_07.wav",
        "amy_9_07",
    ),
    Case("ikala", write_ikala, 44100, 1, {"train": 63, "test": 189}, "Wavfile/10007_verse.wav", "251"),
    Case(
        "musdb", write_musdb, 44100, 2, {"train": 2, "test": 1}, "train/Some One - First/vocals.wav", "vocals"
    ),
    Case("musdb18", write_musdb18, 44100, 2, {"train": 2, "test": 1}, "train/A - B.stem.mp4", ""),
    Case(
        "dsd100", write_dsd100, 44100, 2, {"train": 2, "test": 1}, "Sources/Dev/052 - C - D/bass.wav", "bass"
    ),
    Case(
        "pairs",
        write_pairs,
        44100,
        2,
        {"train": 2, "dev": 1, "test": 1},
        "train/vocals/one.wav",
        "vocals/one",
    ),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.dataset)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def root(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset; tests that remove or add files take `own`, a copy with the same files."""
    folder = tmp_path_factory.mktemp(case.dataset)
    case.write(folder)
    return folder


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    return shutil.copytree(root, tmp_path / "own", copy_function=os.link)


@pytest.mark.slow
def test_each_source_plays_where_it_was_written_and_the_mixture_is_their_sum(case: Case, root: Path) -> None:
    tracks = load_tracks(case.dataset, root, split="all")
    for track in tracks[:: 1 + len(tracks) // 20]:
        audio = track.load()
        assert audio.sample_rate == case.sample_rate
        assert audio.sources.keys() == {"vocals", "accompaniment"}
        vocals, accompaniment = audio.sources["vocals"], audio.sources["accompaniment"]
        assert vocals.shape == accompaniment.shape == audio.mixture.shape == (case.n_channels, N_SAMPLES)
        assert vocals.dtype == accompaniment.dtype == audio.mixture.dtype == np.float32
        first, second = np.s_[:, : N_SAMPLES // 2], np.s_[:, N_SAMPLES // 2 :]
        assert not accompaniment[first].any()
        assert not vocals[second].any()
        assert np.abs(vocals[first]).mean() > 0.05
        assert np.abs(accompaniment[second]).mean() > 0.05
        np.testing.assert_array_equal(audio.mixture, vocals + accompaniment)


def test_names_are_sorted_and_unique_and_splits_share_no_song(case: Case, root: Path) -> None:
    tracks = {split: load_tracks(case.dataset, root, split=split) for split in [*case.sizes, "all"]}
    names = {split: [track.name for track in tracks[split]] for split in tracks}
    assert {split: len(names[split]) for split in case.sizes} == case.sizes
    assert all(ordered == sorted(set(ordered)) for ordered in names.values())
    assert names["all"] == sorted(name for split in case.sizes for name in names[split])
    # MIR-1K's dev clips are of songs in its training set, as in the papers; its test has other singers.
    group = "singer" if case.dataset == "mir1k" else "song"
    train, test = ({getattr(track, group) for track in tracks[split]} for split in ("train", "test"))
    assert None not in train
    assert not train & test


def test_listing_reads_headers_alone_and_tracks_travel_to_other_processes(
    case: Case, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delattr("duetto.evaluation.tracks.load_audio")
        track = load_tracks(case.dataset, root, split="train")[0]
    copy = pickle.loads(pickle.dumps(track))
    np.testing.assert_array_equal(copy.load().mixture, track.load().mixture)


def test_a_missing_file_is_named(case: Case, own: Path) -> None:
    (own / case.needed).unlink()
    if case.missing:
        with pytest.raises(DatasetError, match=case.missing):
            load_tracks(case.dataset, own, split="train")
    else:
        assert len(load_tracks(case.dataset, own, split="train")) == case.sizes["train"] - 1


@pytest.mark.parametrize(("n_channels", "sample_rate"), [(1, None), (None, 22050)], ids=["mono", "rate"])
def test_an_odd_file_is_named(case: Case, own: Path, n_channels: int | None, sample_rate: int | None) -> None:
    path = own / case.needed
    path.unlink()
    write(path, np.zeros((n_channels or 2, N_SAMPLES), np.float32), sample_rate or case.sample_rate)
    with pytest.raises(DatasetError, match=path.name):
        load_tracks(case.dataset, own, split="all")


def test_hidden_and_other_files_are_no_tracks(case: Case, own: Path) -> None:
    before = [track.name for track in load_tracks(case.dataset, own, split="all")]
    folder = (own / case.needed).parent
    for name in ("._amy_9_07.wav", ".DS_Store", "readme.txt", "labels.csv"):
        (folder / name).write_bytes(b"no audio")
    (folder.parent / ".cache").mkdir()
    assert [track.name for track in load_tracks(case.dataset, own, split="all")] == before


def test_an_unknown_split_lists_the_splits(case: Case, root: Path) -> None:
    with pytest.raises(
        DatasetError, match=f"'tests'.* {', '.join([*case.sizes, 'all'])}; did you mean 'test'"
    ):
        load_tracks(case.dataset, root, split="tests")


def test_an_empty_or_missing_folder_is_an_error(case: Case, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match=folder.name):
            load_tracks(case.dataset, folder, split="test")


def test_an_unknown_dataset_lists_all_and_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="mir1k, ikala, musdb, musdb18, dsd100, pairs, songs; did you mean 'musdb'"
    ):
        load_tracks("musbd", tmp_path, split="train")


@pytest.mark.slow
def test_mir1k_lies_in_one_folder_or_in_three_as_wav_or_flac(tmp_path: Path) -> None:
    write_clips(tmp_path / "flat", [*mir1k_train(), *MIR1K_DEV, *MIR1K_TEST], 16000)
    write_mir1k(tmp_path / "official")
    for split, names in {"train": mir1k_train(), "dev": MIR1K_DEV, "test": MIR1K_TEST}.items():
        for name in names:
            write(tmp_path / "three" / split / f"{name}.flac", np.zeros((2, 9)), 16000)
        listed = [
            load_tracks("mir1k", tmp_path / root, split=split) for root in ("flat", "official", "three")
        ]
        assert all([track.name for track in tracks] == sorted(names) for tracks in listed)
        assert all(track.name.startswith(f"{track.song}_") for track in listed[0])


def test_mir1k_sources_have_equal_energy_and_the_accompaniment_keeps_its_level(tmp_path: Path) -> None:
    accompaniment, vocals = np.random.default_rng(0).uniform(-1, 1, (2, 4000)).astype(np.float32)
    stereo = np.stack([accompaniment * 0.5, vocals * 0.01])
    write(tmp_path / "Ani_1_01.wav", stereo, 16000)
    (track,) = load_tracks("mir1k", tmp_path, split="test")
    sources = track.load().sources
    np.testing.assert_array_equal(sources["accompaniment"], stereo[:1])
    np.testing.assert_allclose(np.linalg.norm(sources["vocals"]), np.linalg.norm(stereo[0]), rtol=1e-5)
    papers_mixture = stereo[0] / np.linalg.norm(stereo[0]) + stereo[1] / np.linalg.norm(stereo[1])
    mixture = track.load().mixture[0] / np.linalg.norm(stereo[0])
    np.testing.assert_allclose(mixture, papers_mixture, atol=1e-6)


@pytest.mark.parametrize("silent", [0, 1])
def test_mir1k_scales_nothing_where_a_source_is_silent(tmp_path: Path, silent: int) -> None:
    stereo = np.full((2, 100), 0.25, np.float32)
    stereo[silent] = 0
    write(tmp_path / "Ani_1_01.wav", stereo, 16000)
    (track,) = load_tracks("mir1k", tmp_path, split="test")
    sources = track.load().sources
    np.testing.assert_array_equal(sources["accompaniment"], stereo[:1])
    np.testing.assert_array_equal(sources["vocals"], stereo[1:])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("abjones_3_05", "no such clips"),
        ("amy_17_01", "no such clips"),
        ("mixture", "mixture.wav: the name"),
        ("Ani_1_1", "Ani_1_1.wav: the name"),
    ],
)
def test_mir1k_refuses_clips_that_are_not_its_own(tmp_path: Path, name: str, message: str) -> None:
    write_clips(tmp_path, ["Ani_1_02", name], 16000)
    with pytest.raises(DatasetError, match=message):
        load_tracks("mir1k", tmp_path, split="test")


def test_mir1k_names_the_missing_clips_but_not_hundreds_of_them(tmp_path: Path) -> None:
    write_clips(tmp_path, [name for name in mir1k_train() if not name.startswith("abjones")], 16000)
    with pytest.raises(DatasetError, match=r"41 clips .*: abjones_1_01, abjones_1_02, .* and 31 more"):
        load_tracks("mir1k", tmp_path, split="train")


def test_the_same_name_in_two_folders_is_an_error(tmp_path: Path) -> None:
    write_clips(tmp_path / "train", ["Ani_1_01"], 16000)
    write_clips(tmp_path / "test", ["Ani_1_01"], 16000)
    with pytest.raises(DatasetError, match="same name"):
        load_tracks("mir1k", tmp_path, split="test")


def test_the_same_track_in_two_splits_is_an_error(tmp_path: Path) -> None:
    write_track(tmp_path / "train/Twice", 1, ["vocals", "accompaniment"])
    write_track(tmp_path / "test/Twice", 1, ["vocals", "accompaniment"])
    with pytest.raises(DatasetError, match="Twice"):
        load_tracks("musdb", tmp_path, split="all")


def test_ikalas_split_keeps_a_song_together_and_never_changes(tmp_path: Path) -> None:
    write_ikala(tmp_path)
    tracks = load_tracks("ikala", tmp_path, split="train")
    songs = sorted({track.song for track in tracks})
    assert songs[:6] == ["10001", "10005", "10009", "10011", "10015", "10019"]
    assert all(track.name in (f"{track.song}_verse", f"{track.song}_chorus") for track in tracks)
    assert len(songs) < len(tracks)  # some have both clips here, so the two were not dealt out one by one


def test_the_accompaniment_is_the_sum_of_its_parts_and_its_own_file_goes_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts = {
        name: rng.uniform(-0.3, 0.3, (2, 50)).astype(np.float32)
        for name in ("vocals", "drums", "bass", "other")
    }
    for name, audio in parts.items():
        write(tmp_path / f"test/Song/{name}.wav", audio)
    (track,) = load_tracks("musdb", tmp_path, split="test")
    expected = parts["drums"] + parts["bass"] + parts["other"]
    np.testing.assert_allclose(track.load().sources["accompaniment"], expected, atol=1e-7)
    write(tmp_path / "test/Song/accompaniment.wav", expected / 2)
    (track,) = load_tracks("musdb", tmp_path, split="test")
    np.testing.assert_array_equal(track.load().sources["accompaniment"], expected / 2)


def test_sources_of_different_length_are_named_with_their_lengths(tmp_path: Path) -> None:
    write(tmp_path / "vocals/song.wav", np.zeros((2, 100)))
    write(tmp_path / "accompaniment/song.flac", np.zeros((2, 99)))
    with pytest.raises(DatasetError, match=r"song\.wav has 100 .*song\.flac has 99"):
        load_tracks("pairs", tmp_path, split="all")


def test_sources_that_decode_to_different_lengths_are_named(tmp_path: Path) -> None:
    for name in ("vocals", "accompaniment"):
        write(tmp_path / name / "song.wav", np.zeros((2, 100)))
    (track,) = load_tracks("pairs", tmp_path, split="all")
    write(tmp_path / "vocals/song.wav", np.zeros((2, 99)))
    with pytest.raises(DatasetError, match=r"vocals.song\.wav has 99 "):
        track.load()


@pytest.mark.parametrize(
    "titles", [["Drums", "Lead vocals", "Backing Vocals", "Synth"], ["a", "VOCALS", "vocals 2", "b"]]
)
def test_titles_say_which_stems_are_vocals(tmp_path: Path, titles: list[str]) -> None:
    stems = one_after_the_other(3, 2, 3)
    write_stem_file(tmp_path / "song.stem.mp4", stems, titles=titles)
    (track,) = load_tracks("musdb18", tmp_path, split="all")
    sources = track.load().sources
    np.testing.assert_allclose(sources["vocals"], stems[1] + stems[2], atol=2**-14)
    np.testing.assert_allclose(sources["accompaniment"], stems[0] + stems[3], atol=2**-14)


def test_stems_that_nothing_names_are_refused(tmp_path: Path) -> None:
    for titles in (["Kick", "Bass", "Lead", "Pads"], ["Vocals"]):
        write_stem_file(
            tmp_path / "song.stem.mp4", one_after_the_other(3, 2, 3)[: len(titles)], titles=titles
        )
        with pytest.raises(DatasetError, match=rf"song\.stem\.mp4 needs .* its stems: {', '.join(titles)}"):
            load_tracks("musdb18", tmp_path, split="all")
    (tmp_path / "song.stem.mp4").write_bytes(b"no MP4" * 100)
    with pytest.raises(DatasetError, match=r"song\.stem\.mp4 cannot be read"):
        load_tracks("musdb18", tmp_path, split="all")


def test_the_stem_file_that_duetto_writes_is_a_track(tmp_path: Path) -> None:
    n_samples = 30_000
    tones = {
        name: tone(hertz, n_samples / 44100, n_channels=2)
        for name, hertz in (("vocals", 500), ("accompaniment", 700))
    }
    with StemMp4Writer(tmp_path / "song.stem.mp4", sample_rate=44100, n_channels=2) as writer:
        for name, track in writer.tracks.items():
            track.write(sum(tones.values()) if name == "mixture" else tones[name])
    (track,) = load_tracks("musdb18", tmp_path, split="all")
    audio = track.load()
    for name, expected in tones.items():
        assert audio.sources[name].shape == expected.shape
        assert decibels(audio.sources[name] - expected, expected) < -30


def test_pairs_without_split_folders_are_one_split(tmp_path: Path) -> None:
    for name in ("vocals/song.wav", "accompaniment/song.flac"):
        write(tmp_path / name, np.zeros((1, 100)))
    assert [track.name for track in load_tracks("pairs", tmp_path, split="all")] == ["song"]
    with pytest.raises(DatasetError, match="only the split 'all'"):
        load_tracks("pairs", tmp_path, split="train")
    write(tmp_path / "vocals/song.flac", np.zeros((1, 100)))
    with pytest.raises(DatasetError, match=r"song\.flac"):
        load_tracks("pairs", tmp_path, split="all")


@pytest.mark.slow
@needs_mir1k
def test_the_real_mir1k_has_the_papers_clips() -> None:
    tracks = {split: load_tracks("mir1k", MIR1K, split=split) for split in ("train", "dev", "test")}
    assert {split: len(tracks[split]) for split in tracks} == {"train": 171, "dev": 4, "test": 279}
    assert {track.singer for track in tracks["train"]} == {"abjones", "amy"}
    assert {track.singer for track in tracks["test"]} == {
        "Ani",
        "annar",
        "bobon",
        "davidson",
        "jmzen",
        "titon",
    }


@pytest.mark.slow
@needs_mir1k
def test_the_real_mir1k_singers_pause_more_than_the_music() -> None:
    def share_of_pauses(source: np.ndarray) -> float:
        frames = source[0, : source.shape[1] // 640 * 640].reshape(-1, 640)  # 40 ms
        level = np.sqrt(np.mean(frames**2, axis=1))
        return float(np.mean(level < 0.1 * np.sqrt(np.mean(source**2))))  # 20 dB below the clip's level

    tracks = load_tracks("mir1k", MIR1K, split="all")[::9]
    shares = np.array(
        [
            [share_of_pauses(track.load().sources[name]) for name in ("vocals", "accompaniment")]
            for track in tracks
        ]
    )
    assert shares[:, 0].mean() > 10 * shares[:, 1].mean()  # measured: 0.24 and 0.002
