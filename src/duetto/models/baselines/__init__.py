"""Conventional methods, by the names that users choose them by."""

from duetto.models.baselines.base import Method as Method
from duetto.models.baselines.hpss import MedianFilter
from duetto.models.baselines.mlrr import MLRR
from duetto.models.baselines.repet_sim import RepetSim
from duetto.models.baselines.rnmf import RNMF
from duetto.models.baselines.rpca import RPCA

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
