"""REPET-SIM: the accompaniment repeats itself, the vocals do not."""

import numpy as np
from numpy.typing import NDArray

from duetto.models.baselines.base import Method
from duetto.models.metadata import ModelMetadata

Magnitude = NDArray[np.float32]


class RepetSim(Method):
    """Separation by the similarity matrix of the frames.

    Rafii and Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012. Each frame V_j of the
    magnitude is compared with all others by their cosine similarity. The accompaniment W_j is the median of
    V_j and its most similar frames, at most V_j itself, and the mask of the vocals is 1 - W / V. As in the
    paper, up to 100 frames are used, whatever their similarity, and all below 100 Hz is accompaniment. Frames
    last 64 ms. The frames that are used have a distance of at least 0.5 s: of 0.1, 0.3, 0.5 and the 1 s of
    the paper, 0.3 and 0.5 s scored best on every eighth training clip of MIR-1K, all with this transform.

    Args:
        gaussian: use the mask of the vocals 1 - exp(-log(V / W)^2 / 2) of adaptive REPET (Liutkus, Rafii,
            Badeau, Pardo, Richard, "Adaptive filtering for music/voice separation exploiting the repeating
            musical structure", ICASSP 2012), which leaves less accompaniment in the vocals.
    """

    n_similar = 100
    distance_seconds = 0.5
    lowest_voice_hertz = 100.0

    def __init__(self, *, gaussian: bool = False) -> None:
        self._gaussian = gaussian
        self.metadata = ModelMetadata(
            name="repet-sim-gaussian" if gaussian else "repet-sim",
            summary="REPET-SIM: what similar frames have in common is accompaniment, the rest is vocals"
            + (", Gaussian mask" if gaussian else ""),
            paper="Rafii and Pardo, ISMIR 2012" + ("; Liutkus et al., ICASSP 2012" if gaussian else ""),
            n_fft=1024,
            hop_length=512,
            window="sine",
            segment_seconds=60.0,
        )

    def vocals_mask(self, magnitude: Magnitude) -> Magnitude:
        """See `Method`."""
        rate, stft = self.metadata.sample_rate, self.metadata.stft
        distance = round(self.distance_seconds * rate / stft.hop_length)
        medians = repeating_magnitude(magnitude, n_similar=self.n_similar, distance=distance)
        music = np.minimum(medians, magnitude)
        ratio = np.divide(music, magnitude, out=np.ones_like(magnitude), where=magnitude > 0)
        if self._gaussian:
            ratio = np.exp(-0.5 * np.log(np.maximum(ratio, np.finfo(np.float32).tiny)) ** 2)
        mask: Magnitude = 1 - ratio
        mask[: round(self.lowest_voice_hertz * stft.n_fft / rate)] = 0
        return mask


def repeating_magnitude(magnitude: Magnitude, *, n_similar: int, distance: int) -> Magnitude:
    """Median of each frame and its most similar ones, shape (n_bins, n_frames) as `magnitude`.

    Args:
        magnitude: (n_bins, n_frames).
        n_similar: largest number of frames of a median, including the frame itself.
        distance: smallest distance in frames between those of a median.
    """
    norms = np.maximum(np.linalg.norm(magnitude, axis=0), np.finfo(np.float32).tiny)
    directions = magnitude / norms
    similarity = directions.T @ directions
    frames = np.ascontiguousarray(magnitude.T)
    medians = [np.median(frames[_peaks(row, n_similar, distance)], axis=0) for row in similarity]
    return np.stack(medians, axis=1)


def _peaks(similarity: NDArray[np.float32], n_peaks: int, distance: int) -> list[int]:
    """The frames of highest similarity (n_frames,), at most `n_peaks`, `distance` or more apart."""
    open_ = similarity.copy()
    peaks: list[int] = []
    while len(peaks) < n_peaks:
        best = int(open_.argmax())
        if open_[best] == -np.inf:
            break
        peaks.append(best)
        open_[max(0, best - distance + 1) : best + distance] = -np.inf
    return peaks
