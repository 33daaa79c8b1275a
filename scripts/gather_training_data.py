"""Gathers recordings for training from copies of public repositories and unpacked Debian packages.

Usage: python scripts/gather_training_data.py --list [--with-licence]
       python scripts/gather_training_data.py DATA --clones CLONES [--packages PACKAGES]
                                              [--only NAME ...] [--with-licence]

`--list` prints what `scripts/training_sources.toml` names: each source with its licence. Get those that you
want yourself, and read their licences: repositories into `CLONES`, for instance

    git clone https://github.com/OWNER/NAME CLONES/OWNER/NAME

and Debian packages into `PACKAGES`, for instance

    apt-get download NAME && dpkg -x NAME_*.deb PACKAGES/NAME

Archives of games (.pk3) in a package are looked into. What is missing is named at the end and left out.

Written are 16-bit FLAC files at the sample rate of the training:

    DATA/sung/NAME-000.flac             voices without music, in mono; short clips are joined
    DATA/music/NAME-000.flac            music without voices
    DATA/songs/NAME/vocals-TRACK.flac   the sung tracks of a multitrack song
    DATA/songs/NAME/TRACK.flac          its other tracks
    DATA/manifest.tsv                   of each file: seconds, source, commit, paths and licence

A file that exists is not made again.
"""

import argparse
import csv
import io
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from duetto import load_audio
from duetto.audio.atomic import replacing
from duetto.errors import DuettoError

Waveform = NDArray[np.float32]
"""(n_channels, n_samples)."""

SOURCES = Path(__file__).with_name("training_sources.toml")
NOT_STATED = "not stated"
JOINED_SECONDS = 60
"""Short clips of a voice are joined to files that are a little longer than this."""
UNREADABLE = (DuettoError, soundfile.SoundFileError, OSError, ValueError, subprocess.CalledProcessError)

Files = Iterator[tuple[str, Callable[[], bytes]]]
"""Paths of a source, with what reads each."""

COLUMNS = ("file", "seconds", "source", "commit", "paths", "licence")


@dataclass(frozen=True)
class Source:
    """One entry of the table.

    Attributes:
        name: of the files that are written.
        kind: "voices", "music" or "songs".
        files: pattern (a regular expression) of the paths that are taken; of a song, of those not sung.
        repository: OWNER/NAME, or "" for a package.
        package: of Debian, or "".
        sung: of a song, the pattern of its sung tracks.
        without: pattern of paths that are left out.
        commit: of the repository; its newest by default.
        licence: as its repository or package states it.
        short: whether its files are clips that are to be joined.
    """

    name: str
    kind: str
    files: str = ""
    repository: str = ""
    package: str = ""
    sung: str = ""
    without: str = ""
    commit: str = "HEAD"
    licence: str = NOT_STATED
    short: bool = False

    @property
    def origin(self) -> str:
        """The repository, or the package."""
        return self.repository or f"Debian {self.package}"


@dataclass
class Gathering:
    """Where files are read and written, and what has been done.

    Attributes:
        out: the folder that is written.
        clones: of repositories.
        packages: of unpacked packages.
        sample_rate: of what is written, in hertz.
        rows: of the manifest.
        missing: sources that are not there.
        unreadable: files that could not be read, and why.
    """

    out: Path
    clones: Path | None
    packages: Path | None
    sample_rate: int
    rows: list[tuple[str, ...]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def gather(self, source: Source) -> None:
        """Write the files of one source."""
        if source.kind == "songs":
            for prefix, pattern in (("vocals-", source.sung), ("", source.files)):
                for path, waveform in self._recordings(source, pattern):
                    track = re.sub(r"[^A-Za-z0-9]+", "_", Path(path).stem)
                    self._write(Path("songs", source.name, f"{prefix}{track}.flac"), waveform, source, path)
            return
        folder = "sung" if source.kind == "voices" else "music"
        recordings = self._recordings(source, source.files)
        if source.short:
            recordings = self._joined(recordings)
        for number, (path, waveform) in enumerate(recordings):
            if source.kind == "voices":
                waveform = waveform.mean(axis=0, keepdims=True)
            self._write(Path(folder, f"{source.name}-{number:03d}.flac"), waveform, source, path)

    def _recordings(self, source: Source, pattern: str) -> Iterator[tuple[str, Waveform]]:
        """Paths and waveforms of a source's files that fit a pattern, by their paths."""
        if not pattern:
            return
        files = self._from_clone(source) if source.repository else self._from_package(source)
        if files is None:
            if source.origin not in self.missing:
                self.missing.append(source.origin)
            return
        for path, read in files:
            if not re.search(pattern, path) or (source.without and re.search(source.without, path)):
                continue
            try:
                yield path, resampled(*decoded(read(), path), self.sample_rate)
            except UNREADABLE as error:
                self.unreadable.append(f"{source.origin}: {path}: {error}")

    def _from_clone(self, source: Source) -> Files | None:
        folder = self.clones and self.clones / source.repository
        if not folder or not folder.is_dir():
            return None
        listing = git(folder, "ls-tree", "-r", "-z", "--name-only", source.commit).decode()
        paths = sorted(filter(None, listing.split("\0")))
        return ((path, partial(git, folder, "show", f"{source.commit}:{path}")) for path in paths)

    def _from_package(self, source: Source) -> Files | None:
        folder = self.packages and self.packages / source.package
        if not folder or not folder.is_dir():
            return None
        return package_files(folder)

    def _joined(self, recordings: Iterator[tuple[str, Waveform]]) -> Iterator[tuple[str, Waveform]]:
        """Clips one after another, without the silence around each."""
        paths: list[str] = []
        clips: list[Waveform] = []
        for path, waveform in recordings:
            paths.append(path)
            clips.append(trimmed(waveform.mean(axis=0, keepdims=True), self.sample_rate))
            if sum(clip.shape[1] for clip in clips) > JOINED_SECONDS * self.sample_rate:
                yield f"{paths[0]} to {paths[-1]}", np.concatenate(clips, axis=1)
                paths, clips = [], []
        if clips:
            yield f"{paths[0]} to {paths[-1]}", np.concatenate(clips, axis=1)

    def _write(self, name: Path, waveform: Waveform, source: Source, path: str) -> None:
        """A recording and its row, unless it is shorter than a second or silent."""
        loudest = float(np.abs(waveform).max(initial=0))
        if waveform.shape[1] < self.sample_rate or loudest < 1e-4:
            return
        if not (self.out / name).exists():
            with replacing(self.out / name) as part:
                scaled = waveform * np.float32(min(1, 0.99 / loudest))
                soundfile.write(part, scaled.T, self.sample_rate, format="FLAC", subtype="PCM_16")
        commit = source.commit
        if source.repository:
            commit = git(self.clones / source.repository, "rev-parse", source.commit).decode().strip()
        seconds = f"{waveform.shape[1] / self.sample_rate:.1f}"
        self.rows.append((name.as_posix(), seconds, source.origin, commit, path, source.licence))


def package_files(folder: Path) -> Files:
    """Paths within an unpacked package, and in the archives of games in it, with what reads each."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".pk3":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    yield f"{path.relative_to(folder)}!{name}", partial(archive.read, name)
        elif path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes


def git(folder: Path, *arguments: str) -> bytes:
    """What a git command says of a copy of a repository."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def decoded(content: bytes, path: str) -> tuple[Waveform, int]:
    """The waveform of a file's content, and its sample rate."""
    if path.lower().endswith((".m4a", ".mp4", ".aac")):  # these need a file and the package av
        with tempfile.NamedTemporaryFile(suffix=Path(path).suffix) as file:
            file.write(content)
            file.flush()
            return load_audio(file.name)
    waveform, sample_rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return waveform.T, sample_rate


def resampled(waveform: Waveform, sample_rate: int, new_sample_rate: int) -> Waveform:
    """A waveform at a lower sample rate.

    Raises:
        ValueError: its rate is lower: a network would learn from an empty band.
    """
    if sample_rate < new_sample_rate:
        raise ValueError(f"{sample_rate} Hz, fewer than the {new_sample_rate} Hz of the training")
    ratio = Fraction(new_sample_rate, sample_rate)
    return resample_poly(waveform, ratio.numerator, ratio.denominator, axis=1).astype(np.float32)


def trimmed(mono: Waveform, sample_rate: int) -> Waveform:
    """Without what is 30 dB below the loudest 20 ms, before and after."""
    block = sample_rate // 50
    power = np.square(np.pad(mono[0], (0, -mono.shape[1] % block))).reshape(-1, block).mean(axis=1)
    loud = np.flatnonzero(power > 1e-3 * power.max(initial=0))
    return mono[:, loud[0] * block : (loud[-1] + 1) * block] if loud.size else mono[:, :0]


def load_sources(path: Path = SOURCES) -> list[Source]:
    """The entries of a table of sources."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Source(name=name, kind=kind, **settings)
        for kind in ("voices", "music", "songs")
        for name, settings in values.get(kind, {}).items()
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--clones", type=Path, help="folder of copies of repositories, OWNER/NAME each")
    parser.add_argument("--packages", type=Path, help="folder of unpacked Debian packages")
    parser.add_argument("--rate", type=int, default=16_000, help="of the training, in hertz")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of sources")
    parser.add_argument(
        "--with-licence", action="store_true", help="leave out the sources that state no licence"
    )
    parser.add_argument("--sources", type=Path, default=SOURCES, help="another table of sources")
    parser.add_argument("--list", action="store_true", help="print the sources and their licences")
    options = parser.parse_args()
    sources = load_sources(options.sources)
    if unknown := set(options.only or ()) - {source.name for source in sources}:
        parser.error(f"no such source: {', '.join(sorted(unknown))}; --list prints their names")
    sources = [source for source in sources if not options.only or source.name in options.only]
    if options.with_licence:
        sources = [source for source in sources if not source.licence.startswith(NOT_STATED)]
    if options.list:
        for source in sources:
            print(f"{source.name}\t{source.kind}\t{source.origin}\t{source.licence}")
        return
    if not options.data or not (options.clones or options.packages):
        parser.error("name the folder to write, and --clones, --packages or both; or --list")
    gathering = Gathering(options.data, options.clones, options.packages, options.rate)
    for source in sources:
        gathering.gather(source)
    write_manifest(options.data / "manifest.tsv", gathering.rows)
    for line in gathering.unreadable:
        print(f"left out: {line}", file=sys.stderr)
    if gathering.missing:
        print(f"missing: {', '.join(gathering.missing)}", file=sys.stderr)
    seconds = sum(float(row[1]) for row in gathering.rows)
    print(f"{len(gathering.rows)} files, {seconds / 3600:.1f} hours, in {options.data}")


def write_manifest(path: Path, rows: list[tuple[str, ...]]) -> None:
    """The rows of these files, and those of files that an earlier run wrote."""
    held: dict[str, tuple[str, ...]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            held = {row[0]: tuple(row) for row in list(csv.reader(file, delimiter="\t"))[1:]}
    held |= {row[0]: row for row in rows}
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(held[name] for name in sorted(held))


if __name__ == "__main__":
    main()
