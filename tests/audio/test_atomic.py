"""A file or folder takes its name when it is complete and on the disk."""

import os
import stat
from pathlib import Path

import pytest

from duetto.audio.atomic import replacing


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture
def events(monkeypatch):
    """What is flushed and renamed, in this order."""
    events, synced, renamed = [], os.fsync, Path.replace

    def fsync(descriptor):
        events.append("file" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "folder")
        synced(descriptor)

    def rename(self, target):
        events.append("name")
        return renamed(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    return events


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


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no folders")
def test_the_content_is_on_the_disk_before_the_name_and_then_the_name(tmp_path, events):
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
    assert events == ["file", "name", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no folders")
def test_a_folder_is_on_the_disk_with_its_files_before_it_has_its_name(tmp_path, events):
    with replacing(tmp_path / "folder") as part:
        part.mkdir()
        (part / "one").write_text("whole")
        (part / "two").write_text("whole")
    assert events == ["file", "file", "folder", "name", "folder"]
    assert names(tmp_path) == ["folder", "one", "two"]


def test_a_failure_leaves_nothing_of_a_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "new" / "folder") as part:  # noqa: PT012
        part.mkdir()
        (part / "one").write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    with replacing(tmp_path / "name") as part:
        part.mkdir()
        left = part
    (tmp_path / "name").rmdir()
    left.mkdir()
    (left / "file").write_text("left by a killed process")
    with replacing(tmp_path / "name") as part:
        part.write_text("whole")
    assert names(tmp_path) == ["name"]


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "file", unique=True) as one, replacing(tmp_path / "file", unique=True) as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "file").read_text() == "one"
    assert names(tmp_path) == ["file"]
