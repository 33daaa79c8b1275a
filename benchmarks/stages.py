"""Shows where the time of `duetto separate` goes, and how far the network is from the processor's limit.

Usage: OMP_NUM_THREADS=1 python benchmarks/stages.py [--minutes 4] [--model duetto] [--runs 3]

It separates a 44.1 kHz 16-bit stereo FLAC file into two, as the command does, in this process, and prints the
processor time of each stage, summed over threads: of the run with the least in all. The limit is what a
product of two 1024 x 1024 matrices of float32 reaches in NumPy on as many threads as the separation uses.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np

from duetto import Separator
from duetto._analysis import Analysis
from duetto.audio import AudioReader
from duetto.bundle import DEFAULT_MODEL, Bundle, BundleMetadata
from duetto.estimators import MaskEstimator
from duetto.separator import MOST_THREADS, N_CORES
from duetto.stem_files import StemFiles
from duetto.stft import STFT
from separate import make_song

RATE = 44_100
N_THREADS = min(N_CORES, MOST_THREADS)
STAGES = {
    "decode": (AudioReader, "blocks"),
    "STFT": (STFT, "forward"),
    "network's input": (Analysis, "network_input"),
    "network": (Bundle, "masks"),
    "masks": (Analysis, "vocals"),
    "inverse STFT": (STFT, "inverse"),
    "remainder and encode": (StemFiles, "write"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    separator = Separator(options.model)
    started = time.process_time()
    spent: dict[str, float] = defaultdict(float)
    for name, (owner, method) in STAGES.items():
        setattr(owner, method, timed(getattr(owner, method), name, spent))
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.flac"
        make_song(song, options.minutes)
        runs = [run(separator, song, spent) for _ in range(options.runs)]
    total, wall, stages = min(runs, key=lambda run: run[0])
    stages["the rest"] = total - sum(stages.values())
    print("| stage | CPU, s | share |\n|---|---|---|")
    for name, seconds in stages.items():
        print(f"| {name} | {seconds:.2f} | {seconds / total:.0%} |")
    print(f"\n{options.minutes:g} minutes in {wall:.2f} s, {total:.2f} s of CPU on {N_THREADS} threads;")
    print(f"before them {started:.2f} s to start Python, to import and to load the model.")
    report_limit(separator, stages["network"], 60 * options.minutes)


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same function or generator, which adds its processor time to `spent`; stages never overlap."""

    def pieces(iterator: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = time.thread_time()
            piece = next(iterator, None)
            spent[name] += time.thread_time() - start
            if piece is None:
                return
            yield piece

    def wrapped(*args: Any, **options: Any) -> Any:
        start = time.thread_time()
        result = function(*args, **options)
        spent[name] += time.thread_time() - start
        return pieces(result) if isinstance(result, Iterator) else result

    return wrapped


def run(separator: Separator, song: Path, spent: dict[str, float]) -> tuple[float, float, dict[str, float]]:
    """Processor time, wall time, processor time by stage."""
    spent.clear()
    wall, total = time.perf_counter(), time.process_time()
    separator.separate_file(song, song.parent)
    total, wall = time.process_time() - total, time.perf_counter() - wall
    return total, wall, {name: spent[name] for name in STAGES}


def report_limit(separator: Separator, seconds: float, song_seconds: float) -> None:
    """Print the network's operations, its rate and the processor's."""
    way = separator._segmented(RATE)
    (stage,), n_frames = way.stages, way.analyses[0][0].stft.n_frames(way.length)
    n_segments = (song_seconds * RATE - way.overlap) / way.stride
    work = n_segments * separator.n_passes * gflop(stage, n_frames)
    limit = matrix_limit()
    print(f"\nThe network: {work:.0f} GFLOP at {work / seconds:.1f} GFLOP/s of a core; matrix products reach")
    print(f"{limit:.1f} GFLOP/s of a core here: it runs at {work / seconds / limit:.0%} of the limit.")


def gflop(bundle: MaskEstimator, n_frames: int) -> float:
    """Operations of the network on so many frames; a sum and a product count as two."""
    from torch.utils.flop_counter import FlopCounterMode

    from duetto.train.estimator import NetworkEstimator
    from duetto.train.networks import build_network
    from duetto.train.recipes import parse_config

    config = parse_config(cast(BundleMetadata, bundle.metadata).recipe)
    estimator = NetworkEstimator(config, build_network(config.network, bundle.metadata.stft.n_bins).eval())
    with FlopCounterMode(display=False) as counter:
        estimator.masks(estimator.probe(n_frames))
    return counter.get_total_flops() / 1e9


def matrix_limit(size: int = 1024, n_products: int = 40) -> float:
    """GFLOP/s of processor time of matrix products on all threads at once."""
    matrix = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)

    def products(_: int) -> float:
        start = time.thread_time()
        for _ in range(n_products):
            matrix @ matrix
        return time.thread_time() - start

    with ThreadPoolExecutor(N_THREADS) as threads:
        seconds = list(threads.map(products, range(N_THREADS)))
    return 2e-9 * size**3 * n_products / (sum(seconds) / len(seconds))


if __name__ == "__main__":
    main()
