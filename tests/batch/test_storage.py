"""Songs and stems behind URLs, on fsspec's file systems of files and of memory."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from test_manifest import RECORD

from duetto.batch.inputs import find_songs
from duetto.batch.manifest import RemoteManifest
from duetto.batch.runner import separate_files
from duetto.errors import ConfigError
from duetto.separation.separator import Separator
from helpers.batches import stems, write_songs
from helpers.command_line import duetto, duetto_apart, without
from helpers.files import write_song

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def upload(system: fsspec.AbstractFileSystem, n_songs: int) -> None:
    """The songs of `music` to memory://music."""
    for path in write_songs(Path("music"), n_songs):
        system.makedirs(f"/{path.parent.as_posix()}", exist_ok=True)
        system.pipe_file(f"/{path.as_posix()}", path.read_bytes())


def remote_stems(system: fsspec.AbstractFileSystem, out: str) -> dict[str, bytes]:
    paths = [path for path in system.find(out) if "/manifest" not in path]
    return {path.removeprefix(f"{out}/"): system.cat_file(path) for path in paths}


def test_urls_stand_for_songs_as_paths_do(memory: fsspec.AbstractFileSystem) -> None:
    upload(memory, 3)
    memory.pipe_file("/music/cover.jpg", b"")
    names = ["memory:///music/even/000.wav", "memory:///music/even/002.wav", "memory:///music/odd/001.wav"]
    short = [name.replace(":///", "://") for name in names]

    def found(name: str) -> list[tuple[str, str]]:
        return [(song.name.replace(":///", "://"), song.parent) for song in find_songs([name], "out")]

    assert found("memory://music") == list(zip(short, ["even", "even", "odd"], strict=True))
    assert found("memory://music/**/0*.wav") == found("memory://music")
    assert found("memory://music/even/*.wav") == [(short[0], ""), (short[1], "")]
    assert found(short[2]) == [(short[2], "")]
    Path("list.m3u8").write_text("\n".join(names))
    assert [song.name for song in find_songs(["list.m3u8"], "out")] == names


def test_songs_and_stems_in_memory(memory: fsspec.AbstractFileSystem, tiny_model: Path) -> None:
    upload(memory, 3)
    memory.pipe_file("/music/even/bad.wav", b"la la la\n" * 100)
    assert duetto("separate", "music", "-o", "expected", "-n", tiny_model).code == 0
    outcome = duetto(
        "separate", "memory://music", "memory://music/none.wav", "-o", "memory://out", "-n", tiny_model
    )
    assert outcome.code == 1
    assert remote_stems(memory, "/out") == stems(Path("expected"))
    assert sorted(outcome.out) == [f"memory://out/{path}" for path in stems(Path("expected"))]
    assert outcome.err[0].startswith("duetto: memory:///music/even/bad.wav is not an audio file")
    assert "memory://music/none.wav cannot be fetched" in outcome.err[1]
    assert outcome.err[2].startswith("duetto: 3 of 5 songs separated; 2 failed; ")
    again = duetto("separate", "memory://music", "-o", "memory://out", "-n", tiny_model)
    assert "0 of 4 songs separated; 3 skipped" in again.err[1]
    memory.rm_file("/out/tiny/even/000/vocals.wav")
    memory.pipe_file("/music/odd/001.wav", Path("music/even/002.wav").read_bytes())
    again = duetto("separate", "memory://music", "-o", "memory://out", "-n", tiny_model)
    assert "2 of 4 songs separated; 1 skipped" in again.err[1]
    assert remote_stems(memory, "/out").keys() == stems(Path("expected")).keys()


def test_errors_name_the_url_of_a_song(memory: fsspec.AbstractFileSystem, tiny_model: Path) -> None:
    upload(memory, 1)
    whole = memory.cat_file("/music/even/000.wav")
    spoiled = write_song("spoiled.wav", np.full((1, 9000), np.nan), subtype="FLOAT")
    contents = {"cut": whole[:-999], "text": b"la la la", "empty": b"", "spoiled": spoiled.read_bytes()}
    for name, content in contents.items():
        memory.pipe_file(f"/music/{name}.wav", content)
    names = [f"memory://music/{name}.wav" for name in contents]
    outcome = duetto("separate", *names, "-o", "out", "-n", tiny_model)
    for name, line in zip(names, outcome.err, strict=False):
        assert line.startswith(f"duetto: {name} ") or f"NaN in {name}" in line
        assert tempfile.gettempdir() not in line
    outcome = duetto(
        "separate", "memory://music/even/000.wav", "-o", "out", "-n", tiny_model, "--start", "99"
    )
    assert outcome.err[0].startswith(
        "duetto: memory://music/even/000.wav has no part from 99 seconds to its end"
    )


@pytest.mark.slow
def test_processes_read_and_write_urls(tiny_model: Path, here: Path) -> None:
    write_songs(Path("music"), 4)
    assert duetto("separate", "music", "-o", "expected", "-n", tiny_model).code == 0
    arguments = (f"local://{here}/music", "-o", f"local://{here}/out", "-n", tiny_model, "-j", "2")
    assert duetto("separate", *arguments).code == 0
    written = stems(Path("out"))
    assert {path: written[path] for path in written if "manifest" not in path} == stems(Path("expected"))
    assert "0 of 4 songs separated; 4 skipped" in duetto("separate", *arguments).err[0]


def test_remote_stems_stay_in_their_folder(memory: fsspec.AbstractFileSystem, tiny_model: Path) -> None:
    upload(memory, 1)
    Path("songs.csv").write_text("path,where\nmemory://music/even/000.wav,../..\n")
    options = ("-o", "memory://out", "-n", tiny_model, "--template", "{model}/{where}/{stem}.{ext}")
    outcome = duetto("separate", "songs.csv", *options)
    assert outcome.code == 1
    assert outcome.err[0].startswith("duetto: memory://music/even/000.wav to memory://out: ")
    assert "../vocals.wav lies outside of the output folder" in outcome.err[0]
    assert tempfile.gettempdir() not in outcome.err[0]
    assert remote_stems(memory, "/out") == {}


def test_a_remote_manifest_of_many_records(memory: fsspec.AbstractFileSystem) -> None:
    from dataclasses import replace

    with RemoteManifest("memory://out") as manifest:
        for k in range(250):
            manifest.add(replace(RECORD, song=f"/{k}"))
    with RemoteManifest("memory://out") as manifest:
        manifest.add(replace(RECORD, song="/7", status="failed"))
    files = memory.find("/out")
    assert [memory.cat_file(path).count(b"\n") for path in files] == [100, 100, 50, 1]
    assert all(json.loads(line) for path in files for line in memory.cat_file(path).splitlines())
    with RemoteManifest("memory://out") as manifest:
        assert manifest.find("/249").previous == replace(RECORD, song="/249")
        assert manifest.find("/7").previous == replace(RECORD, song="/7", status="failed")


def test_a_url_that_cannot_be_opened(tiny_model: Path) -> None:
    separator = Separator(tiny_model)
    with pytest.raises(ConfigError, match="Protocol not known: nonesuch"):
        separate_files(["nonesuch://a/b.wav"], "out", separator=separator)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"), [("fsspec", ["memory://a.wav"]), ("ray", ["--example", "--ray", "auto"])]
)
def test_a_missing_extra_gives_the_command_that_installs_it(
    module: str, arguments: list[str], tiny_model: Path
) -> None:
    outcome = duetto_apart("separate", *arguments, "-n", tiny_model, before=without(module))
    assert outcome.code == 1
    assert outcome.err[0].endswith(f"this needs {module}, which is not installed; run pip install {module}")
