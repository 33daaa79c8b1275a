"""Shows what duetto.train.convolution.Convolution gains: its gradient of the weights beside torch's.

Usage: python benchmarks/convolution.py [--runs 15]

GFLOP/s of one thread, batches of 2, channels last: torch's output, its gradients of maps and of weights, our
gradient of weights, a whole step of either. The fastest of runs that take turns; ratios are ours / torch's.
"""

import argparse
import time
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight

from duetto.train.convolution import Convolution, _weight_gradient

SHAPES = [(32, 128, 96), (64, 64, 48), (96, 32, 24), (128, 16, 12)]  # channels, height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    n_runs = parser.parse_args().runs
    torch.set_num_threads(1)
    print("| channels, size | output | maps | weights | ours | ratio | step | our step | ratio |")
    print("|" + 9 * "---|")
    for n, height, width in SHAPES:
        runs = [measure(*torch.randn(2, 2, n, height, width)) for _ in range(n_runs)]
        product = 36 * n * n * height * width / 1e9  # GFLOP: 9 places, 2 maps, a product and a sum
        *single, step, our_step = (product / min(column) for column in zip(*runs, strict=True))
        rates = (*single, single[3] / single[2], 3 * step, 3 * our_step, our_step / step)
        print(f"| {n}, {height} x {width} | {' | '.join(f'{rate:.3g}' for rate in rates)} |", flush=True)


def measure(maps: Tensor, gradient: Tensor) -> list[float]:
    """Seconds of each product and step."""
    maps, gradient = (x.contiguous(memory_format=torch.channels_last) for x in (maps, gradient))
    n, leaf = maps.shape[1], maps.clone().requires_grad_()
    layers = nn.Conv2d(n, n, 3, padding=1, bias=False), Convolution(n, n)
    weight = layers[0].weight.detach()
    calls = [
        lambda: conv2d(maps, weight, padding=1),
        lambda: conv2d_input(maps.shape, weight, gradient, padding=1),
        lambda: conv2d_weight(maps, weight.shape, gradient, padding=1),
        lambda: _weight_gradient(maps, gradient),
        *(lambda x=x: torch.autograd.grad(x(leaf), (leaf, x.weight), gradient) for x in layers),
    ]
    times = [time.process_time()]  # which other programs do not lengthen
    for call in calls:
        call()
        times.append(time.process_time())
    return [end - start for start, end in pairwise(times)]


if __name__ == "__main__":
    main()
