"""Oracle masks: ideal masks computed from the references, an upper bound for methods with such masks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.masks import binary_masks, ratio_masks, wiener_masks
from duetto.dsp.stft import STFT
from duetto.evaluation.tracks import TrackAudio

Spectrogram = NDArray[np.complex64]
Mask = NDArray[np.float32]

_SAMPLE_RATE = 16_000
_STFT = STFT(n_fft=1024, hop_length=512, window="sine")  # that of Huang et al. 2014


@dataclass(frozen=True)
class Oracle:
    """Separates a track with the ideal mask that its references give.

    The transform is that of Huang et al. 2014, 1024 points every 512 with a sine window at 16 kHz, and the
    same hertz and milliseconds at other rates. Every channel has a mask of its own.

    Attributes:
        name: of the oracle on the command line.
        vocals_mask: maps the references' spectrograms (n_channels, n_frames, n_bins), vocals first, to the
            mask of the vocals.
    """

    name: str
    vocals_mask: Callable[[Spectrogram, Spectrogram], Mask]

    def separate_track(self, audio: TrackAudio) -> dict[str, NDArray[np.float32]]:
        """Vocals and accompaniment (n_channels, n_samples), summing to the mixture."""
        stft = _STFT.resampled(_SAMPLE_RATE, audio.sample_rate)
        references = {name: stft.forward(source) for name, source in audio.sources.items()}
        mask = self.vocals_mask(references["vocals"], references["accompaniment"])
        vocals = stft.inverse(mask * stft.forward(audio.mixture), audio.mixture.shape[-1])
        return {"vocals": vocals, "accompaniment": audio.mixture - vocals}


def _of_magnitudes(make_masks: Callable[[dict[str, Mask]], dict[str, Mask]]) -> Callable[..., Mask]:
    """A mask that depends only on the magnitudes."""

    def vocals_mask(vocals: Spectrogram, accompaniment: Spectrogram) -> Mask:
        return make_masks({"vocals": np.abs(vocals), "accompaniment": np.abs(accompaniment)})["vocals"]

    return vocals_mask


def phase_sensitive_mask(vocals: Spectrogram, accompaniment: Spectrogram) -> Mask:
    """The real mask in [0, 1] with the least error of the vocals: Re(V / X), clipped.

    Erdogan, Hershey, Watanabe, Le Roux, "Phase-sensitive and recognition-boosted speech separation using deep
    recurrent neural networks", ICASSP 2015, equation 7. Silent bins get 0.
    """
    mixture = vocals + accompaniment
    power = mixture.real**2 + mixture.imag**2
    aligned = vocals.real * mixture.real + vocals.imag * mixture.imag
    mask: Mask = np.divide(aligned, power, out=np.zeros_like(power), where=power > 0).clip(0, 1)
    return mask


ORACLES = {
    oracle.name: oracle
    for oracle in (
        Oracle("oracle-ratio", _of_magnitudes(ratio_masks)),
        Oracle("oracle-wiener", _of_magnitudes(wiener_masks)),
        Oracle("oracle-binary", _of_magnitudes(binary_masks)),
        Oracle("oracle-phase", phase_sensitive_mask),
    )
}
