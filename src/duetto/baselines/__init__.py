"""Conventional methods, which are separators like any other, and the oracles.

A method that is listed here is known by its name wherever a model is.
"""

from duetto.baselines._method import Method as Method
from duetto.baselines.hpss import MedianFilter
from duetto.baselines.mlrr import MLRR
from duetto.baselines.repet_sim import RepetSim
from duetto.baselines.rnmf import RNMF
from duetto.baselines.rpca import RPCA

_STAGES: list[tuple[Method, ...]] = [
    (RPCA(),),
    (RPCA(binary=True),),
    (RNMF(),),
    (MLRR(),),
    (RepetSim(),),
    (RepetSim(gaussian=True),),
    (
        MedianFilter(n_fft=6144, keep="percussive", lowest_voice_hertz=100),
        MedianFilter(n_fft=384, keep="harmonic"),
    ),
]

METHODS = {stages[0].metadata.name: stages for stages in _STAGES}
