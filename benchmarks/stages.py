"""Shows where the time of `duetto separate` goes, and how far the network is from the processor's limit.

Usage: OMP_NUM_THREADS=1 python benchmarks/stages.py [--minutes 4] [--model duetto] [--runs 3]

It separates a 44.1 kHz 16-bit stereo FLAC file into two, as the command does, but in this process and with
the network on one thread, and prints the processor time of each stage: of the run with the least in all. The
limit is what a product of two 1024 x 1024 matrices of float32 reaches in ONNX Runtime on one thread.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from duetto import Separator
from duetto.audio import AudioReader
from duetto.dsp.stft import STFT
from duetto.models.onnx_model import OnnxModel, probe_input
from duetto.models.registry import DEFAULT_MODEL
from duetto.separation.frontend import Frontend
from duetto.separation.stateful import StatefulInference
from duetto.separation.stem_writer import StemFiles
from separate import make_song

RATE = 44_100
STAGES = {
    "decode": (AudioReader, "blocks"),
    "STFT": (STFT, "forward"),
    "network's input": (Frontend, "network_input"),
    "network": (OnnxModel, "step"),
    "masks": (Frontend, "vocals"),
    "inverse STFT": (STFT, "overlap_add"),
    "remainder and encode": (StemFiles, "write"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    separator = Separator(options.model, n_threads=1)
    started = time.process_time()
    spent: dict[str, float] = defaultdict(float)
    for name, (owner, method) in STAGES.items():
        setattr(owner, method, timed(getattr(owner, method), name, spent))
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.flac"
        make_song(song, options.minutes)
        runs = [run(separator, song, spent) for _ in range(options.runs)]
    total, stages = min(runs, key=lambda run: run[0])
    stages["the rest"] = total - sum(stages.values())
    print("| stage | CPU, s | share |\n|---|---|---|")
    for name, seconds in stages.items():
        print(f"| {name} | {seconds:.2f} | {seconds / total:.0%} |")
    print(f"\n{options.minutes:g} minutes took {total:.2f} s of CPU; before them {started:.2f} s to start")
    print("Python, to import and to load the model.")
    report_limit(separator, stages["network"], 60 * options.minutes)


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same function or generator, which adds its processor time to `spent`; stages never overlap."""

    def parts(iterator: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = time.thread_time()
            part = next(iterator, None)
            spent[name] += time.thread_time() - start
            if part is None:
                return
            yield part

    def wrapped(*args: Any, **options: Any) -> Any:
        start = time.thread_time()
        result = function(*args, **options)
        spent[name] += time.thread_time() - start
        return parts(result) if isinstance(result, Iterator) else result

    return wrapped


def run(separator: Separator, song: Path, spent: dict[str, float]) -> tuple[float, dict[str, float]]:
    """Processor time, and that of each stage."""
    spent.clear()
    total = time.process_time()
    separator.separate_file(song, song.parent)
    total = time.process_time() - total
    return total, {name: spent[name] for name in STAGES}


def report_limit(separator: Separator, seconds: float, song_seconds: float) -> None:
    """Print the network's operations, its rate and the processor's."""
    inference = cast(StatefulInference, separator._inference(RATE))
    n_chunks = song_seconds * RATE / (inference.n_frames * inference.frontends[0].stft.hop_length)
    model = cast(OnnxModel, inference.model)
    work = n_chunks * separator.settings.n_passes * gflop(model, inference.n_frames)
    limit = matrix_limit()
    print(f"\nThe network: {work:.0f} GFLOP at {work / seconds:.1f} GFLOP/s; matrix products reach")
    print(f"{limit:.1f} GFLOP/s here: it runs at {work / seconds / limit:.0%} of the limit.")


def gflop(model: OnnxModel, n_frames: int) -> float:
    """Operations of the network on a chunk in the middle of a song; a sum and a product count as two."""
    from torch.utils.flop_counter import FlopCounterMode

    from duetto.training.config_io import parse_config
    from duetto.training.networks import build_network
    from duetto.training.torch_model import TorchModel

    config = parse_config(model.metadata.recipe)
    network = TorchModel(config, build_network(config.network, model.metadata.stft.n_bins).eval())
    chunk = probe_input(model.metadata, n_frames)
    _, state = network.step(chunk, None, is_last=False)
    with FlopCounterMode(display=False) as counter:
        network.step(chunk, state, is_last=False)
    return counter.get_total_flops() / 1e9


def matrix_limit(size: int = 1024, n_products: int = 40) -> float:
    """GFLOP/s of matrix products on one thread, in the network's runtime."""
    import onnxruntime
    from onnx import TensorProto, helper

    shape = (size, size)
    names = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "abc"}
    product = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([product], "product", [names["a"], names["b"]], [names["c"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    session.run(None, {"a": matrix, "b": matrix})  # the first wakes the library up
    start = time.process_time()
    for _ in range(n_products):
        session.run(None, {"a": matrix, "b": matrix})
    return 2e-9 * size**3 * n_products / (time.process_time() - start)


if __name__ == "__main__":
    main()
