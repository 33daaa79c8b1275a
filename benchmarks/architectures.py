"""Separates a song with the architecture of another separator, its weights untrained.

Usage: python benchmarks/architectures.py htdemucs|open-unmix [SONG OUT]

It reads SONG, separates it on all cores and writes vocals.flac and accompaniment.flac into the folder OUT;
without SONG it prints how many parameters the network has. others.py times it, so it imports no Duetto.
"""

import os
import sys
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import soundfile
import torch
from torch import Tensor, nn

Separate = Callable[[Tensor], tuple[Tensor, Tensor]]


def main() -> None:
    name, *paths = sys.argv[1:]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network, separate = ARCHITECTURES[name]()
    if not paths:
        print(f"{sum(parameter.numel() for parameter in network.parameters()):,}")
        return
    song, out = paths
    samples, sample_rate = soundfile.read(song, dtype="float32", always_2d=True)
    with torch.no_grad():
        stems = separate(torch.from_numpy(samples.T).contiguous())
    for stem, audio in zip(("vocals", "accompaniment"), stems, strict=True):
        soundfile.write(Path(out) / f"{stem}.flac", audio.T.numpy(), sample_rate, subtype="PCM_16")


def htdemucs() -> tuple[nn.Module, Separate]:
    """The released "htdemucs" (Rouard et al., ICASSP 2023), applied as by its command, without random shifts.

    It differs from the defaults of its class in segments of 7.8 s, residual branches in the decoder too and
    512 channels in the transformer (demucs/grids/mmi.py in the package), which makes 41,984,456 parameters.
    """
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    sources = ["drums", "bass", "other", "vocals"]
    network = HTDemucs(sources, dconv_mode=3, bottom_channels=512, segment=Fraction(39, 5))

    def separate(song: Tensor) -> tuple[Tensor, Tensor]:
        middle = song.mean(0)
        mean, deviation = middle.mean(), middle.std()
        normal = (song - mean) / deviation
        stems = apply_model(network, normal[None], shifts=0, split=True, overlap=0.25)[0]
        stems.mul_(deviation).add_(mean)
        return stems[3], stems[:3].sum(0)

    return network, separate


def open_unmix() -> tuple[nn.Module, Separate]:
    """The vocals of "umxhq" (Stöter et al., JOSS 2019); the rest is what the Wiener filter leaves."""
    # The package imports torchaudio for its loaders and resampler, which are not used here; it would lengthen
    # the start and does not load beside every PyTorch.
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    from openunmix.model import OpenUnmix, Separator
    from openunmix.utils import bandwidth_to_max_bin

    max_bin = int(bandwidth_to_max_bin(44100, 4096, 16000))
    vocals = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, nb_layers=3, max_bin=max_bin)
    separator = Separator({"vocals": vocals}, niter=1, residual=True, n_fft=4096, n_hop=1024)
    separator.freeze()

    def separate(song: Tensor) -> tuple[Tensor, Tensor]:
        stems = separator(song[None])[0]
        return stems[0], stems[1]

    return vocals, separate


ARCHITECTURES = {"htdemucs": htdemucs, "open-unmix": open_unmix}


if __name__ == "__main__":
    main()
