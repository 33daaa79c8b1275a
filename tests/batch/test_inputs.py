"""Which songs names stand for, and where their stems go."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duetto.audio import AUDIO_SUFFIXES
from duetto.batch.inputs import Song, find_songs
from duetto.errors import ConfigError
from helpers.command_line import WITHOUT_PRIVILEGES

pytestmark = pytest.mark.usefixtures("here")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*names: str, out: str = "separated") -> list[tuple[str, str]]:
    return [(song.name, song.parent) for song in find_songs(names, out)]


def test_a_folder_stands_for_the_songs_below_it_in_order() -> None:
    touch("m/b.wav", "m/a.FLAC", "m/z/c.mp3", "m/a/2.ogg", "m/a/1.m4a", "m/a/deep/x.opus")
    touch("m/cover.jpg", "m/.hidden.wav", "m/.trash/d.wav", "m/a/notes.txt", "m/._b.wav")
    assert found("m") == [
        ("m/a.FLAC", ""), ("m/b.wav", ""), ("m/a/1.m4a", "a"), ("m/a/2.ogg", "a"),
        ("m/a/deep/x.opus", "a/deep"), ("m/z/c.mp3", "z"),
    ]  # fmt: skip
    assert found("m/") == found("./m") == found("m")


def test_stems_of_an_earlier_run_are_no_songs() -> None:
    touch("a.wav", "separated/duetto/a/vocals.wav", "stems/b.wav")
    assert found(".") == [("a.wav", ""), ("stems/b.wav", "stems")]
    assert found("**/*.wav", out="stems") == [
        ("a.wav", ""),
        ("separated/duetto/a/vocals.wav", "separated/duetto/a"),
    ]
    assert found("stems/b.wav", out="stems") == [("stems/b.wav", "")]
    with pytest.raises(ConfigError, match="choose another output folder"):
        found(".", out=".")


def test_a_pattern_stands_for_the_songs_that_fit() -> None:
    touch("m/x1.wav", "m/x2.wav", "m/y1.wav", "m/d/x3.wav", "m/x4.txt")
    assert found("m/x*") == [("m/x1.wav", ""), ("m/x2.wav", "")]
    assert found("m/**/x?.wav") == [("m/d/x3.wav", "d"), ("m/x1.wav", ""), ("m/x2.wav", "")]
    assert found("m/[y]*.wav") == [("m/y1.wav", "")]
    assert found("m/*/x3.wav") == [("m/d/x3.wav", "d")]
    assert found("m/d/*") == [("m/d/x3.wav", "")]


def test_a_name_with_the_signs_of_a_pattern_is_a_name_where_it_exists() -> None:
    touch("[live].wav", "l.wav")
    assert found("[live].wav") == [("[live].wav", "")]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.wav", ""),
        ("no-list.m3u", ""),
        ("*.wav", "*.wav: no audio file matches this pattern"),
        ("empty", "empty: no audio files in this folder or below it"),
        ("empty.m3u", "empty.m3u: this list names no songs"),
    ],
)
def test_a_name_with_nothing_behind_it_fails_alone(name: str, problem: str) -> None:
    Path("empty").mkdir()
    touch("a.flac", "empty.m3u")
    assert find_songs(["a.flac", name], "out") == [Song("a.flac"), Song(name, problem=problem)]


DENIED = """
import os, sys
from duetto.batch.inputs import find_songs
for song in find_songs(sys.argv[1], "out"):
    print(song.name, song.problem, sep="|")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["m", "m/**/*.wav", "m/*/*.wav", "m/denied", "m/denied/*"])
def test_a_folder_that_cannot_be_listed_is_told(name: str) -> None:
    touch("m/a.wav", "m/ok/b.wav", "m/denied/c.wav")
    Path("m/denied").chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_PRIVILEGES + DENIED, name],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        Path("m/denied").chmod(0o755)
    *others, last = done.stdout.splitlines()
    assert last == "m/denied|m/denied: cannot list this folder: Permission denied"
    assert ("m/ok/b.wav|" in others) == ("denied" not in name)


def test_songs_come_once_in_the_order_of_their_first_name(here: Path) -> None:
    touch("m/a.wav", "m/b.wav")
    assert found("m/b.wav", "m", str(here / "m/a.wav"), "m/../m/b.wav") == [("m/b.wav", ""), ("m/a.wav", "")]


def test_a_playlist_names_songs_relative_to_itself(here: Path) -> None:
    touch("l/a.wav", "l/live/b.wav", "elsewhere/c.wav")
    Path("l/mix.m3u8").write_bytes(
        b"\xef\xbb\xbf#EXTM3U\r\n#EXTINF:123,Somebody - A song\r\na.wav\r\n\r\n"
        b"live/b.wav\n  ../elsewhere/c.wav  \n" + os.fsencode(here / "l/a.wav") + b"\n/not/there.wav\n"
    )
    assert found("l/mix.m3u8") == [
        ("l/a.wav", ""), ("l/live/b.wav", "live"), ("l/../elsewhere/c.wav", ""), ("/not/there.wav", "")
    ]  # fmt: skip


def test_a_playlist_of_any_encoding_finds_its_songs() -> None:
    touch("Ærø.wav", "夜曲.wav", "a/b.wav")
    Path("old.m3u").write_bytes("Ærø.wav\na\\b.wav\n".encode("cp1252"))
    Path("new.m3u").write_bytes("Ærø.wav\n夜曲.wav\n".encode())
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        Path("windows.m3u").write_bytes("#EXTM3U\r\nÆrø.wav\r\n夜曲.wav\r\n".encode(encoding))
        assert found("windows.m3u") == [("Ærø.wav", ""), ("夜曲.wav", "")]
    assert found("old.m3u") == [("Ærø.wav", ""), ("a/b.wav", "a")]
    assert found("new.m3u") == [("Ærø.wav", ""), ("夜曲.wav", "")]


def test_a_table_names_songs_and_fields() -> None:
    touch("t/a.wav")
    Path("t/songs.csv").write_text('artist,path,year\n"AC, DC",a.wav,1980\nNobody,b.wav\n,,\n', "utf-8-sig")
    assert find_songs(["t/songs.csv"], "out") == [
        Song("t/a.wav", "", (("artist", "AC, DC"), ("year", "1980"))),
        Song("t/b.wav", "", (("artist", "Nobody"), ("year", ""))),
    ]
    Path("t/songs.tsv").write_text("file\ttrack\na.wav\tOne, two\n")
    assert find_songs(["t/songs.tsv"], "out") == [Song("t/a.wav", "", (("track", "One, two"),))]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path;artist\na b.wav;AC, DC\n", "utf-8"),
        ('sep=;\r\npath;artist\r\n"a b.wav";"AC, DC"\r\n', "utf-8-sig"),
        ("path\tartist\na b.wav\tAC, DC\n", "utf-16"),  # what spreadsheets call Unicode text
        ('path,artist\na%20b.wav,"AC, DC"\n', "utf-8"),
    ],
)
def test_a_table_as_spreadsheets_write_it(text: str, encoding: str) -> None:
    touch("a b.wav")
    Path("songs.csv").write_text(text, encoding, newline="")
    assert find_songs("songs.csv", "out") == [Song("a b.wav", "", (("artist", "AC, DC"),))]


def test_a_playlist_as_players_write_it(here: Path) -> None:
    touch("a b.wav", "100%25.wav", "é.wav")
    localhost = "file://localhost" + quote(f"{here}/a b.wav")
    Path("list.m3u8").write_text("\n".join(["100%25.wav", (here / "é.wav").as_uri(), localhost]))
    assert [Path(name).name for name, _ in found("list.m3u8")] == ["100%25.wav", "é.wav", "a b.wav"]
    Path("list.m3u8").write_text("a%20b.wav\n")
    assert found("list.m3u8") == [("a b.wav", "")]


def test_a_table_that_cannot_be_used() -> None:
    Path("clash.csv").write_text("path,stem\na.wav,vocals\n")
    with pytest.raises(ConfigError, match="'stem' is a field that Duetto fills"):
        found("clash.csv")
    Path("broken.csv").write_text('path\n"' + "x" * 200_000)
    with pytest.raises(ConfigError, match=r"broken.csv: line \d+ cannot be read as a table"):
        found("broken.csv")


def test_a_template_is_filled_with_what_the_song_knows() -> None:
    song = Song("m/one.wav", "rock/live", (("artist", "A{B}C"), ("year", "1980")))
    assert song.fill("{model}/{parent}/{artist}/{stem}.{ext}") == "{model}/rock/live/A{{B}}C/{stem}.{ext}"
    assert song.fill("{name}-{year:>6}-{stem!s:.3}{{}}") == "one.wav-  1980-{stem!s:.3}{{}}"
    assert Song("a.wav", "", (("track", "No. 1"),)).fill("{track}/{stem}") == "No. 1/{stem}"
    with pytest.raises(ConfigError, match="write fields in braces"):
        song.fill("{stem")


@pytest.mark.slow
@given(st.text(max_size=20), st.text(max_size=20))
def test_a_filled_template_gives_the_same_as_filling_it_at_once(parent: str, text: str) -> None:
    template = text.replace("{", "{{").replace("}", "}}") + "{parent}{stem}"
    assert Song("a.wav", parent).fill(template).format(stem="vocals") == f"{text}{parent}vocals"


def test_what_is_read_is_found_in_folders() -> None:
    from duetto.audio.formats import CONTAINERS

    assert set(CONTAINERS) <= AUDIO_SUFFIXES
