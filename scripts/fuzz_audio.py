"""Damages sound files at random, reads and separates them, and counts what happened.

    python scripts/fuzz_audio.py --n 10000

Whatever the bytes are, a file is separated or refused with an error of ours; never another exception, a
crash, more than 10 seconds or more than 1 GB. Mutation number K is the same in every run:
`--first K --n 1 --keep FOLDER` makes it again and keeps its file.
"""

import argparse
import io
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from duetto.audio import AudioWriter, load_audio
from duetto.errors import DuettoError
from duetto.models.metadata import ModelMetadata
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions

SECONDS, N_BYTES = 10, 2**30
FORMS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OPUS", "OPUS"),
    ("MP3", "MPEG_LAYER_III"), ("M4A", "AAC"),
]  # fmt: skip
DEPTHS = {"PCM_16": "16", "PCM_24": "24", "FLOAT": "32f"}
FFMPEG_FORMS = [("matroska", "aac"), ("asf", "wmav2"), ("adts", "aac")]
ODD = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


class Estimator:
    """A model of one line."""

    metadata = ModelMetadata(
        name="loud", summary="loud bins are vocals", n_fft=1024, hop_length=512, window="sine"
    )

    def masks(self, magnitude: np.ndarray) -> np.ndarray:
        """The masks of the vocals and of the accompaniment."""
        vocals = magnitude / (magnitude + 1)
        return np.stack([vocals, 1 - vocals], axis=1)


def originals(folder: Path) -> dict[str, bytes]:
    """A short song in every format, with and without tags."""
    from mutagen.flac import FLAC

    rng = np.random.default_rng(0)
    separator, files = Separator(Estimator()), {}
    form = {"sample_rate": 48_000, "n_channels": 2, "container": "FLAC", "subtype": "PCM_16"}
    tagged = folder / "tagged.flac"
    with AudioWriter(tagged, **form) as writer:
        writer.write(rng.integers(-9000, 9000, (2, 9600)).astype(np.int32))
    plain = folder / "plain.flac"
    plain.write_bytes(tagged.read_bytes())
    file = FLAC(tagged)
    file.update({"title": "Song", "artist": ["Anna", "Bert"], "tracknumber": "3/12", "mood": "odd"})
    file.save()
    for container, subtype in FORMS:
        for song in (plain, tagged):
            depth = DEPTHS.get(subtype)
            options = FileOptions(format=container.lower(), bit_depth=depth, stems=("vocals",))
            path = separator.separate_file(song, folder / f"{container}{subtype}", options).paths["vocals"]
            files[f"{song.stem} {container} {subtype}"] = path.read_bytes()
    for container, codec in FFMPEG_FORMS:
        files[f"plain {container} {codec}"] = encoded(load_audio(plain)[0], container, codec)
    return files


def encoded(audio: np.ndarray, container: str, codec: str) -> bytes:
    """A file of a format that is only read, as FFmpeg writes it."""
    import av

    data = io.BytesIO()
    with av.open(data, "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout="stereo")
        stream.codec_context.format, stream.bit_rate = "fltp", 128_000
        frame = av.AudioFrame.from_ndarray(audio, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return data.getvalue()


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The bytes with one to eight damages, mostly where the headers are."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        n = len(damaged)
        if n == 0:
            break
        at = rng.randrange(min(n, 200)) if rng.random() < 0.6 else rng.randrange(n)
        kind = rng.randrange(8)
        if kind == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[at] = rng.randrange(256)
        elif kind == 2:
            value = struct.pack(rng.choice(["<I", ">I"]), rng.choice(ODD))
            damaged[at : at + 4] = value
        elif kind == 3:
            damaged[at : at + 8] = rng.choice(ODD).to_bytes(8, rng.choice(["little", "big"]))
        elif kind == 4:
            del damaged[at : at + rng.choice([1, 2, 4, 100, n])]
        elif kind == 5:
            damaged[at:at] = rng.randbytes(rng.choice([1, 2, 4, 100]))
        elif kind == 6:
            length = rng.choice([4, 16, 500])
            damaged[at:at] = damaged[at : at + length] * rng.choice([1, 2, 20])
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            damaged[at : at + 64] = other[start : start + 64]
    return bytes(damaged)


def attempt(path: Path, out: Path, separator: Separator) -> str:
    """Read and separate a file; say how it went."""
    try:
        audio, _ = load_audio(path)
        assert np.isfinite(audio).all()
        separator.separate_file(path, out, FileOptions(template="{stem}.{ext}"))
    except DuettoError:
        return "refused"
    except Exception:  # noqa: BLE001 (this is what is looked for)
        return "FAULT " + " | ".join(traceback.format_exc().splitlines()[-3:])
    return "separated"


def work(first: int, n: int, seed: int, keep: Path | None) -> None:
    """Try mutations in this process and print a line before and after each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = originals(folder)
        kinds, contents, separator = list(files), list(files.values()), Separator(Estimator())
        limit = n_bytes_now() + N_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for index in range(first, first + n):
            rng = random.Random(seed * 1_000_003 + index)
            kind = rng.randrange(len(kinds))
            path = (keep or folder) / "song"
            path.write_bytes(mutated(contents[kind], contents, rng))
            print(f"{index}\tbegin\t{kinds[kind]}", flush=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may be busy
            signal.alarm(30 * SECONDS)
            result = attempt(path, folder / "out", separator)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            print(f"{index}\tend\t{result}", flush=True)
        print(f"0\tmemory\t{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}", flush=True)


def n_bytes_now() -> int:
    """The address space that this process has taken."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def watched(first: int, n: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Mutations tried in processes of their own; a new one continues after the one that killed it.

    Yields:
        Number, format and outcome of each.
    """
    end = first + n
    while first < end:
        command = [sys.executable, __file__, "--worker", "--first", str(first), "--n", str(end - first)]
        with subprocess.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True) as process:
            kind = ""
            for line in process.stdout or io.StringIO():
                index, what, said = line.rstrip("\n").split("\t", 2)
                if what == "memory":
                    yield -1, "memory", said
                elif what == "begin":
                    first, kind = int(index) + 1, said
                else:
                    yield int(index), kind, said
                    kind = ""
        if kind:
            hung = process.returncode in (-signal.SIGALRM, -signal.SIGPROF)
            died = "HANG" if hung else f"CRASH {process.returncode}"
            yield first - 1, kind, died
        elif process.returncode:
            sys.exit(f"a worker failed before its first file: {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000, help="mutations")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="try in this process, and leave the last file here")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker or options.keep:
        work(options.first, options.n, options.seed, options.keep)
        return
    counts, peak, bad = Counter(), 0, []
    for index, kind, outcome in watched(options.first, options.n, options.seed):
        if kind == "memory":
            peak = max(peak, int(outcome))
            continue
        counts[outcome.split()[0]] += 1
        if outcome not in ("separated", "refused"):
            bad.append(f"{index} ({kind}): {outcome}")
    print(*bad, sep="\n", end="\n" if bad else "")
    print(", ".join(f"{counts[what]} {what}" for what in ("separated", "refused", "FAULT", "CRASH", "HANG")))
    print(f"largest memory of a worker: {peak / 1e6:.0f} MB")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
