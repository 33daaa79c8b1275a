"""The same batch on a Ray cluster of this machine, with a worker killed in the middle."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from duetto.batch.manifest import Record
from duetto.batch.runner import separate_files
from duetto.errors import ConfigError
from duetto.separation.separator import Separator
from helpers.batches import records, stems, write_songs
from helpers.tiny import write_model

pytestmark = pytest.mark.slow  # Ray starts processes

KILL_ONCE = """
import os, sys
n_opened = 0
def audit(event, arguments):
    global n_opened
    if event == "open" and "/004/.duetto-" in str(arguments[0]):
        n_opened += 1
        if n_opened == 2 and not os.path.exists({flag!r}):  # the vocals are open, the accompaniment is not
            os.close(os.open({flag!r}, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), 9)
sys.addaudithook(audit)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster whose workers load a module that kills one of them; gives the file that tells it happened."""
    flag = tmp_path / "killed"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILL_ONCE.format(flag=str(flag)))
    paths = [str(tmp_path / "site"), str(Path(__file__).parents[2] / "src")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)  # the tasks switch the telemetry off themselves
    import ray  # slow to import, also where these tests are left out

    ray.init(
        num_cpus=2,
        object_store_memory=80_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    yield flag
    ray.shutdown()


def test_a_cluster_writes_the_same_bytes_though_a_worker_is_killed(cluster: Path, tmp_path: Path) -> None:
    separator = Separator(write_model(tmp_path / "tiny.onnx"))
    write_songs(tmp_path / "music", 8)
    (tmp_path / "music" / "bad.wav").write_text("la la la\n" * 100)
    ended: list[Record] = []
    for out, address in (("here", None), ("there", "auto")):
        summary = separate_files(
            [tmp_path / "music"],
            tmp_path / out,
            separator=separator,
            ray=address,
            on_done=lambda record, _: ended.append(record),
        )
        assert (summary.n_done, summary.n_failed) == (8, 1)
    assert cluster.exists()
    assert stems(tmp_path / "there") == stems(tmp_path / "here")
    here, there = (
        {record["song"]: record for record in records(tmp_path / out)} for out in ("here", "there")
    )
    for song, record in there.items():
        assert record["outputs"].keys() == here[song]["outputs"].keys()
        for key in ("status", "error", "sha256", "model", "parameters", "n_clipped", "audio_seconds"):
            assert record[key] == here[song][key]
    again = separate_files([tmp_path / "music"], tmp_path / "there", separator=separator, ray="auto")
    assert (again.n_skipped, again.n_failed) == (8, 1)
    left = {path.name for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert left <= {"auth_token"}  # Ray's own


def test_an_address_without_a_cluster(tmp_path: Path) -> None:
    separator = Separator(write_model(tmp_path / "tiny.onnx"))
    (song,) = write_songs(tmp_path / "music", 1)
    with pytest.raises(ConfigError, match="no Ray cluster answers at localhost:1"):
        separate_files([song], tmp_path / "out", separator=separator, ray="localhost:1")
