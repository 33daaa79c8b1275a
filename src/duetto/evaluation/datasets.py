"""Datasets with references, in fixed splits: MIR-1K, iKala, MUSDB18, DSD100, and songs of one's own."""

import difflib
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from duetto.audio import AUDIO_SUFFIXES
from duetto.errors import DatasetError
from duetto.evaluation.tracks import Track, clip_loader, files_loader, is_sung, song_loader, stems_loader

# MIR-1K numbers the clips of a song from 1 and leaves some numbers out. The last number of each song:
_MIR1K_LAST_CLIP = {"abjones": (4, 12, 14, 8, 9), "amy": (7, 7, 8, 11, 8, 11, 8, 8, 9, 8, 7, 7, 7, 6, 13, 8)}
_MIR1K_LEFT_OUT = {"abjones_3_05", "abjones_3_07", "abjones_3_08", "abjones_3_13", "amy_15_10"}
_MIR1K_DEV = {"abjones_5_08", "abjones_5_09", "amy_9_08", "amy_9_09"}
_MIR1K_TRAIN = {
    f"{singer}_{song}_{clip:02d}"
    for singer, last_clips in _MIR1K_LAST_CLIP.items()
    for song, last_clip in enumerate(last_clips, start=1)
    for clip in range(1, last_clip + 1)
} - (_MIR1K_LEFT_OUT | _MIR1K_DEV)

_IKALA_N_CLIPS = 252

MIR1K_TEST_CLIPS = 825
"""Clips of the test split of MIR-1K in the papers; `load_tracks` accepts fewer."""

_STEM_SUFFIX = ".stem.mp4"


def load_tracks(dataset: str, root: str | Path, *, split: str) -> list[Track]:
    """List the tracks of a dataset, sorted by name. Only the files' headers are read.

    | dataset | files below `root` | splits |
    |---|---|---|
    | mir1k | `{singer}_{song}_{clip}.wav` here, in Wavfile, or in train, dev, test | train, dev, test |
    | ikala | `{song}_{chorus or verse}.wav` here or in Wavfile | train, test |
    | musdb | `{train,test}/{track}/{vocals, accompaniment or drums + bass + other}.wav` | train, test |
    | musdb18 | `{train,test}/{track}.stem.mp4`, or `{track}.stem.mp4` here | train, test |
    | dsd100 | `Sources/{Dev,Test}/{track}/{vocals,drums,bass,other}.wav` | train (Dev), test |
    | pairs | `vocals/{track}.wav` and `accompaniment/{track}.wav`, here or in train, dev, test | these |
    | songs | `{track}/vocals.wav` and other tracks in a folder for each song | none |

    Files may be FLAC or another format instead of WAV. A `mixture` file is not read: the mixture is the sum
    of the sources.

    MIR-1K has the split of Huang et al., ISMIR 2014: the singers abjones and amy for training (171 clips)
    and dev (4), all others for the test set, of which clips may be missing. The vocals are scaled to the
    energy of the accompaniment, so the mixture is the papers' 0 dB mixture up to a gain.

    iKala has as many clips in each split as in Fan et al. 2017 (63 and 189), who do not say which. Songs
    go to training in the order of the CRC-32 of their names until it has 63 clips; a song that would be
    one clip too many goes to the test. All 252 clips must be there: a split of fewer would not be the
    same.

    musdb18 are files of the Stem format, as MUSDB18 comes and as `duetto separate --format stem.mp4` writes
    them; they need the extra "av". Vocals are the stem of that name, by what the file says of its tracks, and
    the fourth in a file of four stems that says nothing. The accompaniment is the sum of all other stems, so
    that these are the references of published scores; the track of the mixture is not read, since AAC adds an
    error of its own to each track.

    songs are multitrack songs. The vocals are the sum of the files whose names begin with "vocals", such as
    `vocals.wav` and `vocals-choir.wav`; the accompaniment is the file of that name, or else the sum of all
    other files. The tracks of a song begin together; shorter ones end with silence.

    Args:
        dataset: "mir1k", "ikala", "musdb", "musdb18", "dsd100", "pairs" or "songs".
        root: the dataset's folder.
        split: "train", "dev", "test" as the dataset has them, or "all".

    Raises:
        DatasetError: an unknown dataset or split, a missing folder or file, an odd file, or no track at all.
    """
    root = Path(root)
    _check_choice("dataset", dataset, list(_DATASETS))
    list_tracks, splits = _DATASETS[dataset]
    _check_choice(f"{dataset} split", split, [*splits, "all"])
    if not root.is_dir():
        raise DatasetError(f"not a directory: {root}; give the folder that holds the dataset {dataset}")
    tracks = list_tracks(root, splits if split == "all" else (split,))
    if not tracks:
        raise DatasetError(f"{root} holds no {dataset} track of the split '{split}'")
    twice = [name for name, count in Counter(track.name for track in tracks).items() if count > 1]
    if twice:
        raise DatasetError(f"{root} holds more than one track named {_listed(twice)}; rename or remove one")
    return sorted(tracks, key=lambda track: track.name)


def _list_mir1k(root: Path, splits: tuple[str, ...]) -> list[Track]:
    """Tracks of MIR-1K; see `load_tracks`."""
    files = _audio_files(root, *(root / name for name in ("Wavfile", "train", "dev", "test")))
    _check_names(files.values(), r"[^_]+_\d+_\d\d", "{singer}_{song}_{clip}, as in abjones_1_01.wav")
    clips = {"train": _MIR1K_TRAIN, "dev": _MIR1K_DEV}
    clips["test"] = {name for name in files if name.split("_")[0] not in _MIR1K_LAST_CLIP}
    foreign = files.keys() - clips["train"] - clips["dev"] - clips["test"]
    if foreign:
        raise DatasetError(f"{_listed(foreign)} in {root}: MIR-1K has no such clips; remove them")
    names = set().union(*(clips[split] for split in splits))
    missing = names - files.keys()
    if missing:
        raise DatasetError(f"{root} lacks {len(missing)} clips of MIR-1K: {_listed(missing)}; restore them")
    tracks = []
    for name in names:
        load = clip_loader(files[name], 16000, at_equal_energy=True)
        tracks.append(Track(name, name.rpartition("_")[0], name.split("_")[0], load))
    return tracks


def _list_ikala(root: Path, splits: tuple[str, ...]) -> list[Track]:
    """Tracks of iKala; see `load_tracks`."""
    files = _audio_files(root, root / "Wavfile")
    _check_names(
        files.values(), r"\d+_(chorus|verse)", "{song}_chorus or {song}_verse, as in 10161_chorus.wav"
    )
    if len(files) != _IKALA_N_CLIPS:
        raise DatasetError(
            f"{root} holds {len(files)} clips of iKala; its split needs all {_IKALA_N_CLIPS}; add the others"
        )
    songs = Counter(name.split("_")[0] for name in files)
    train: set[str] = set()
    n_left = _IKALA_N_CLIPS // 4
    for song in sorted(songs, key=lambda song: (zlib.crc32(song.encode()), song)):
        if songs[song] <= n_left:
            train.add(song)
            n_left -= songs[song]
    return [
        Track(name, song, None, clip_loader(path, 44100, at_equal_energy=False))
        for name, path in files.items()
        if ("train" if (song := name.split("_")[0]) in train else "test") in splits
    ]


def _list_track_folders(root: Path, splits: tuple[str, ...], *, folders: Mapping[str, str]) -> list[Track]:
    """Tracks of MUSDB and DSD100: below the folder of each split, a folder for each track."""
    tracks = []
    for split in splits:
        folder = root / folders[split]
        if not folder.is_dir():
            raise DatasetError(
                f"{folder} is missing; it should hold one folder for each track of the split '{split}'"
            )
        for track in folder.iterdir():
            if track.is_dir() and not track.name.startswith("."):
                files = _audio_files(track)
                parts = ("accompaniment",) if "accompaniment" in files else ("drums", "bass", "other")
                missing = {"vocals", *parts} - files.keys()
                if missing:
                    raise DatasetError(f"{track} lacks {_listed(missing)}; add the audio file of each source")
                loader = files_loader(files["vocals"], *(files[part] for part in parts))
                tracks.append(Track(track.name, track.name, None, loader))
    return tracks


def _list_stem_files(root: Path, splits: tuple[str, ...]) -> list[Track]:
    """Tracks of MUSDB18 in files of the Stem format: in `root` itself, or in a folder for each split."""
    tracks = []
    for folder in _split_folders(root, splits, "stem.mp4 files"):
        for path in folder.iterdir():
            if path.name.lower().endswith(_STEM_SUFFIX) and not path.name.startswith("."):
                name = path.name[: -len(_STEM_SUFFIX)]
                tracks.append(Track(name, name, None, stems_loader(path)))
    return tracks


def _split_folders(root: Path, splits: tuple[str, ...], what: str) -> list[Path]:
    """The folders of the splits; `root` itself where there are none and all splits are wanted."""
    folders = [root / split for split in splits if (root / split).is_dir()]
    if not folders and len(splits) == 1:
        raise DatasetError(
            f"{root / splits[0]} is missing; {what} without split folders have only the split 'all': add "
            "--split all"
        )
    return folders or [root]


def _list_pairs(root: Path, splits: tuple[str, ...]) -> list[Track]:
    """Tracks of a folder of pairs: in `root` itself, or in a folder for each split."""
    tracks = []
    for folder in _split_folders(root, splits, "pairs"):
        vocals, accompaniment = (_audio_files(folder / name) for name in ("vocals", "accompaniment"))
        unpaired = [f"vocals/{name}" for name in accompaniment.keys() - vocals.keys()]
        unpaired += [f"accompaniment/{name}" for name in vocals.keys() - accompaniment.keys()]
        if unpaired:
            raise DatasetError(f"{folder} lacks {_listed(unpaired)}; each track needs a file in both folders")
        for name, path in vocals.items():
            tracks.append(Track(name, name, None, files_loader(path, accompaniment[name])))
    return tracks


def _list_song_folders(root: Path, _: tuple[str, ...]) -> list[Track]:
    """Tracks of a folder with a folder for each multitrack song."""
    tracks = []
    for folder in root.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            files = _song_files(folder)
            tracks.append(Track(folder.name, folder.name, None, song_loader(files), files))
    if not tracks:
        raise DatasetError(f"{root} holds no folders; {_SONG_FOLDER}")
    return tracks


def _song_files(folder: Path) -> tuple[Path, ...]:
    """The tracks of a multitrack song, by name."""
    files = _audio_files(folder)
    vocals = {name for name, path in files.items() if is_sung(path)}
    others = {name for name in files.keys() - vocals if name.lower() != "mixture"}
    if unclear := [files[name].name for name in others if "vocal" in name.lower()]:
        raise DatasetError(
            f"{folder}: is {_listed(unclear)} sung? If it is, let its name begin with vocals; if it is not, "
            "leave the word out"
        )
    others = {name for name in others if name.lower() == "accompaniment"} or others
    if not files:
        raise DatasetError(f"{folder} holds no audio file; {_SONG_FOLDER}")
    if not (vocals and others):
        lacking = "other track" if vocals else "sung track"
        found = _listed(path.name for path in files.values())
        raise DatasetError(f"{folder} has no {lacking} beside {found}; {_SONG_FOLDER}")
    return tuple(files[name] for name in sorted(vocals | others))


_SONG_FOLDER = (
    "a folder for each song should hold its sung tracks, whose names begin with vocals, and its other tracks"
)

_DATASETS: dict[str, tuple[Callable[[Path, tuple[str, ...]], list[Track]], tuple[str, ...]]] = {
    "mir1k": (_list_mir1k, ("train", "dev", "test")),
    "ikala": (_list_ikala, ("train", "test")),
    "musdb": (partial(_list_track_folders, folders={"train": "train", "test": "test"}), ("train", "test")),
    "musdb18": (_list_stem_files, ("train", "test")),
    "dsd100": (
        partial(_list_track_folders, folders={"train": "Sources/Dev", "test": "Sources/Test"}),
        ("train", "test"),
    ),
    "pairs": (_list_pairs, ("train", "dev", "test")),
    "songs": (_list_song_folders, ()),
}


def default_split(dataset: str) -> str:
    """The split that is scored where none is named: "test", or "all" of a dataset without splits."""
    _, splits = _DATASETS.get(dataset, (None, ("test",)))
    return "test" if splits else "all"


def _check_choice(what: str, value: str, choices: list[str]) -> None:
    if value not in choices:
        nearest = difflib.get_close_matches(value, choices, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        allowed = f"one of {', '.join(choices)}" if len(choices) > 1 else f"'{choices[0]}'"
        raise DatasetError(f"unknown {what} '{value}'; choose {allowed}{hint}")


def _check_names(paths: Iterable[Path], pattern: str, form: str) -> None:
    odd = [path.name for path in paths if not re.fullmatch(pattern, path.stem)]
    if odd:
        raise DatasetError(f"{_listed(odd)}: the name should be {form}; rename or remove the file")


def _listed(names: Iterable[str]) -> str:
    """The names, sorted; of many the first ten."""
    ordered = sorted(names)
    return ", ".join(ordered[:10]) + (f" and {len(ordered) - 10} more" if len(ordered) > 10 else "")


def _audio_files(*folders: Path) -> dict[str, Path]:
    """The audio files of those folders that exist, by name without suffix."""
    files: dict[str, Path] = {}
    for folder in filter(Path.is_dir, folders):
        for path in folder.iterdir():
            if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
                if path.stem in files:
                    raise DatasetError(
                        f"{files[path.stem]} and {path} have the same name; remove one of them"
                    )
                files[path.stem] = path
    return files
