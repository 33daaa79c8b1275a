"""What is written down of a batch survives whatever stops it."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from duetto.batch.manifest import Manifest, Output, Record
from duetto.errors import ConfigError

OUTPUT = Output(path="a/vocals.wav", n_bytes=3, fingerprint="3:1", sha256="ab", peak=0.5)
RECORD = Record(
    song="/m/caf\udce9.wav",
    status="done",
    fingerprint="9:9",
    sha256="cd",
    model="ef",
    parameters={"mask": "ratio", "stems": ["vocals", "accompaniment"]},
    outputs={"vocals": OUTPUT},
    audio_seconds=1.5,
    seconds=0.25,
    n_clipped=2,
    null_residual=0.0,
    notes=("a note",),
    version="0.1.0",
)


def test_a_record_comes_back_from_its_line() -> None:
    assert Record.from_line(RECORD.to_line()) == RECORD
    assert RECORD.to_line().count(b"\n") == 1
    assert RECORD.to_line().isascii()


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"[]", b"1\n", b"\xff\n", b'{"song": "a"}', RECORD.to_line()[:-20], b'{"x": 1' * 9]
)
def test_what_is_no_record_is_none(line: bytes) -> None:
    assert Record.from_line(line) is None
    assert Record.from_line(json.dumps({**json.loads(RECORD.to_line()), "unknown": 1}).encode()) is None


def test_the_last_record_of_a_song_counts(tmp_path: Path) -> None:
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(RECORD)
        manifest.add(replace(RECORD, song="/m/b.wav"))
        manifest.add(replace(RECORD, status="failed", error="why"))
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.find(RECORD.song).previous == replace(RECORD, status="failed", error="why")
        assert manifest.find("/m/b.wav").previous == replace(RECORD, song="/m/b.wav")
        assert manifest.find("/m/c.wav").previous is None


def test_the_owner_of_a_path_is_the_song_that_wrote_it_last(tmp_path: Path) -> None:
    path = "a/./vocals.wav"
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(RECORD)
        manifest.add(replace(RECORD, song="/m/b.wav"))
    with Manifest(str(tmp_path)) as manifest:
        owners = manifest.find("/m/c.wav", [path, "a/other.wav"]).owners
        assert owners == (replace(RECORD, song="/m/b.wav"),)
        assert manifest.find("/m/b.wav", [path]).owners == ()
        assert manifest.find(RECORD.song, ["a/other.wav"]) == (RECORD, (), False)


def test_records_of_another_version_are_noticed_until_their_songs_are_done_again(tmp_path: Path) -> None:
    path = OUTPUT.path
    with Manifest(str(tmp_path)) as manifest:
        manifest._append(RECORD.to_line().replace(b'"model"', b'"bundle"'))
        manifest.add(replace(RECORD, song="/m/b.wav", outputs={}))
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.find(RECORD.song) == (None, (), True)
        assert manifest.find("/m/c.wav", [path]) == (None, (), True)
        assert manifest.find("/m/c.wav", ["a/other.wav"]) == (None, (), False)
        assert not manifest.find("/m/b.wav").of_other_version
        manifest.add(RECORD)
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.find(RECORD.song, [path]) == (RECORD, (), False)


@pytest.mark.parametrize("n_bytes", [1, 2, 100, 300])
def test_half_a_line_is_dropped_and_spoils_no_other(n_bytes: int, tmp_path: Path) -> None:
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(RECORD)
        manifest.add(replace(RECORD, song="/m/b.wav"))
    path = tmp_path / "manifest.jsonl"
    whole = path.read_bytes()
    half = whole[: whole.index(b"\n", whole.index(b"/m/b.wav")) + 1 - n_bytes]
    path.write_bytes(half)
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.find(RECORD.song).previous == RECORD
        manifest.add(replace(RECORD, song="/m/c.wav"))
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.find("/m/c.wav").previous == replace(RECORD, song="/m/c.wav")
        if n_bytes > 1:
            assert manifest.find("/m/b.wav").previous is None
    assert path.read_bytes().startswith(half)


def test_only_a_killed_batch_leaves_something_to_sweep(tmp_path: Path) -> None:
    stray = tmp_path / "deep" / ".duetto-01234567.part"
    others = [tmp_path / "deep" / name for name in (".duetto-x", "a.part", ".song.part")]

    def place() -> None:
        stray.parent.mkdir(exist_ok=True)
        for path in (stray, *others):
            path.touch()

    with Manifest(str(tmp_path)):
        place()
    with Manifest(str(tmp_path)):
        assert stray.exists()  # the batch before had ended, so it is somebody else's
    killed = Manifest(str(tmp_path))
    killed.__enter__()
    killed._file.close()  # as the system does for a killed process
    killed._index.file.close()
    with Manifest(str(tmp_path)):
        assert not stray.exists()
        assert all(path.exists() for path in others)
        place()
        with Manifest(str(tmp_path)):
            pass
        assert stray.exists()


def test_the_strays_of_a_killed_batch_wait_until_no_batch_lives(tmp_path: Path) -> None:
    stray = tmp_path / ".duetto-01234567.part"
    with Manifest(str(tmp_path)) as living:
        killed = Manifest(str(tmp_path))
        killed.__enter__()
        killed._file.close()
        killed._index.file.close()
        stray.touch()
        with Manifest(str(tmp_path)) as another:
            another.lost_worker = True
        assert stray.exists()
        living.add(RECORD)
    with Manifest(str(tmp_path)) as manifest:
        assert not stray.exists()
        assert manifest.find(RECORD.song).previous == RECORD


def test_a_lost_worker_leaves_something_to_sweep(tmp_path: Path) -> None:
    with Manifest(str(tmp_path)) as manifest:
        (tmp_path / ".duetto-01234567.part").touch()
        manifest.lost_worker = True
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_batches_beside_each_other_add_whole_lines(tmp_path: Path) -> None:
    with Manifest(str(tmp_path)) as one, Manifest(str(tmp_path)) as other:
        for k in range(20):
            for manifest in (one, other):
                manifest.add(replace(RECORD, song=f"/{k}-{manifest is one}"))
    lines = (tmp_path / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    records = [record for line in lines if (record := Record.from_line(line))]
    assert len(records) == 40
    assert len(lines) == 44


def test_a_manifest_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/out/manifest.jsonl cannot be written: Not a directory"):
        Manifest(str(tmp_path / "file" / "out")).__enter__()


def test_a_full_disk_ends_the_batch_and_spoils_nothing(tmp_path: Path) -> None:
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(RECORD)
        n_bytes = (tmp_path / "manifest.jsonl").stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes + 100, limits[1]))
        try:
            with pytest.raises(ConfigError, match=r"manifest.jsonl cannot be written: No space left"):
                manifest.add(replace(RECORD, song="/m/b.wav"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.find(RECORD.song).previous == RECORD
        assert manifest.find("/m/b.wav").previous is None
