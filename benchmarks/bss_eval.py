"""Times duetto.bss_eval against mir_eval's BSS Eval 3.0 on one clip and compares their figures.

Usage: OMP_NUM_THREADS=1 python benchmarks/bss_eval.py [CLIP]

CLIP is a MIR-1K clip, accompaniment left and voice right; without it 8 s of noise are scored.
"""

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import soundfile
from mir_eval.separation import bss_eval_sources

from duetto.evaluation.bss_eval import bss_eval

N_RUNS = 15


def main() -> None:
    rng = np.random.default_rng(0)
    if len(sys.argv) > 1:
        references = soundfile.read(sys.argv[1])[0].T
    else:
        references = rng.standard_normal((2, 8 * 16000))
    references = references / np.linalg.norm(references, axis=1, keepdims=True)
    noise = rng.standard_normal(references.shape) / np.sqrt(references.shape[1])
    estimates = references + 0.3 * references[::-1] + 0.2 * noise
    names = "accompaniment", "vocals"

    # mir_eval announces that its separation module leaves in 0.9; the project pins 0.8.2.
    warnings.simplefilter("ignore", FutureWarning)
    theirs = partial(bss_eval_sources, references, estimates, compute_permutation=False)
    ours = partial(
        bss_eval, dict(zip(names, references, strict=True)), dict(zip(names, estimates, strict=True))
    )
    their_rows = np.array(theirs()[:3]).T
    our_scores = ours()
    our_rows = np.array([(our_scores[n].sdr, our_scores[n].sir, our_scores[n].sar) for n in names])
    seconds = [(timed(theirs), timed(ours)) for _ in range(N_RUNS)]
    their_time, our_time = (median(column) for column in zip(*seconds, strict=True))
    ratio = median(a / b for a, b in seconds)

    print("| samples | mir_eval, ms | duetto, ms | median ratio | largest difference, dB |")
    print("|---|---|---|---|---|")
    print(
        f"| {references.shape[1]} | {1e3 * their_time:.0f} | {1e3 * our_time:.0f} | {ratio:.1f} "
        f"| {np.abs(their_rows - our_rows).max():.1e} |"
    )


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
