"""A file takes its name when it is complete and on the disk."""

import os

import pytest

from duetto.audio.atomic import replacing


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("unique", [False, True])
def test_a_failure_leaves_the_old_file_and_no_folder(tmp_path, unique):
    (tmp_path / "old").write_text("old")
    for path in (tmp_path / "old", tmp_path / "new" / "deep" / "file"):
        with pytest.raises(ZeroDivisionError), replacing(path, unique=unique) as part:  # noqa: PT012
            part.write_text("half")
            raise ZeroDivisionError
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_folders_are_made_and_others_may_read_the_file(tmp_path):
    path = tmp_path / "new" / ("ü" * 120)
    with replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["new", path.name]
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_content_is_on_the_disk_before_the_name_and_then_the_name(tmp_path, monkeypatch):
    events, synced, renamed = [], os.fsync, type(tmp_path).replace

    def fsync(descriptor):
        events.append("file" if os.fstat(descriptor).st_mode & 0o100000 else "folder")
        synced(descriptor)

    def rename(self, target):
        events.append("name")
        return renamed(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(type(tmp_path), "replace", rename)
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
    assert events == ["file", "name", "folder"][: 3 if os.name == "posix" else 2]


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    with replacing(tmp_path / "file") as part:
        part.write_text("half")
        left = part
    left.write_text("left by a killed process")
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
    assert names(tmp_path) == ["file"]


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "file", unique=True) as one, replacing(tmp_path / "file", unique=True) as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "file").read_text() == "one"
    assert names(tmp_path) == ["file"]
