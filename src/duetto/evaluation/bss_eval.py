"""BSS Eval 3.0 (SDR, SIR, SAR), NSDR, SI-SDR, and their global means."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, norm, toeplitz
from scipy.linalg.lapack import dpocon

from duetto.errors import MetricError

Array = NDArray[np.float64]
Signals = Mapping[str, ArrayLike]

# Eigenvalues of a Gram matrix below this fraction of the largest hold rounding noise: projections leave out
# what they span.
RANK_TOLERANCE = 1e-13
# Frames transformed at a time, few enough to stay in the processor's cache.
BATCH_SIZE = 8


@dataclass(frozen=True)
class Scores:
    """BSS Eval 3.0 scores of one source in dB: source to distortion, interference and artefact ratio."""

    sdr: float
    sir: float
    sar: float


@dataclass(frozen=True)
class TrackScores(Scores):
    """Scores of one source of one track in dB, and what a global mean needs.

    Attributes:
        nsdr: SDR of the estimate minus SDR of the mixture; 0 where both are the same infinity.
        si_sdr: Scale-invariant SDR.
        n_samples: Samples scored, the weight of the track.
        silent_reference: Whether the reference is zero throughout.
    """

    nsdr: float
    si_sdr: float
    n_samples: int
    silent_reference: bool


@dataclass(frozen=True)
class GlobalMeans:
    """Means in dB over n_tracks tracks, weighted by length, without n_silent that have a silent reference."""

    gnsdr: float
    gsir: float
    gsar: float
    si_sdr: float
    n_tracks: int
    n_silent: int


def bss_eval(references: Signals, estimates: Signals, *, filter_length: int = 512) -> dict[str, Scores]:
    """Score estimates against references of the same names as `bss_eval_sources` of BSS Eval 3.0 does.

    With s the projection of an estimate e on its reference delayed by 0 to filter_length - 1 samples, and p
    that on all references so delayed: SDR = |s|^2 / |e - s|^2, SIR = |s|^2 / |p - s|^2 and
    SAR = |p|^2 / |e - p|^2. A ratio with numerator 0 is -inf, any other with denominator 0 is +inf, and none
    is NaN. So a silent estimate has all three at -inf, and a silent reference SDR and SIR.

    All signals are trimmed to the shortest, since separation may drop a tail that fills no frame. BSS Eval
    3.0 knows mono sources: here each channel is projected on the same channel of the references, and energies
    are summed over the channels before the ratios are taken, so that a silent channel weighs nothing.

    Args:
        references: References by name, each (n_samples,) or (n_channels, n_samples).
        estimates: Estimates by the same names, of the same shapes.
        filter_length: Taps of the distortion filter that does not count as an error.

    Returns:
        Scores by name of the reference.

    Raises:
        MetricError: Names or channels differ, or a signal is empty, not finite or of wrong shape.

    Source:
        Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation", 2006.

    Examples:
        >>> import duetto, numpy as np
        >>> vocals, accompaniment = np.random.default_rng(0).normal(size=(2, 8000))
        >>> references = {"vocals": vocals, "accompaniment": accompaniment}
        >>> estimates = references | {"vocals": vocals + 0.1 * accompaniment}
        >>> round(duetto.bss_eval(references, estimates)["vocals"].sir)
        20
    """
    if filter_length < 1:
        raise MetricError(f"filter_length is {filter_length}: give at least 1 tap (BSS Eval 3.0 has 512)")
    by_channel = _aligned(references, estimates).transpose(2, 0, 1, 3)
    energies = np.sum([_energies(r, e, filter_length) for r, e in by_channel], axis=0)
    return {
        name: Scores(_decibels(s, distortion), _decibels(s, interference), _decibels(p, artefacts))
        for name, (s, distortion, interference, p, artefacts) in zip(references, energies, strict=True)
    }


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant SDR of one source in dB: any difference but a gain is an error.

    This is the SDR of `bss_eval` with filter_length=1. Means are not removed, as in the paper's definition:
    an offset is an error; lengths, channels and zeros are treated as there.

    Args:
        reference: (n_samples,) or (n_channels, n_samples).
        estimate: Of the same shape.

    Raises:
        MetricError: The channels differ, or a signal is empty, not finite or of wrong shape.

    Source:
        Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", 2019.

    Examples:
        >>> import duetto
        >>> round(duetto.si_sdr([3.0, 4.0, 0.0], [6.0, 8.0, 1.0]))
        20
    """
    (true,), (estimated,) = _aligned({"source": reference}, {"source": estimate})
    energy = np.vecdot(true, true)
    gain = np.vecdot(true, estimated) / np.where(energy > 0, energy, 1)
    target = gain[:, None] * true
    return _decibels(_energy(target), _energy(estimated - target))


def score_track(
    mixture: ArrayLike, references: Signals, estimates: Signals, *, filter_length: int = 512
) -> dict[str, TrackScores]:
    """Score the separation of one track; for NSDR the mixture is scored at its full length.

    Args:
        mixture: (n_samples,) or (n_channels, n_samples).
        references: References by name, of the same shape.
        estimates: Estimates by the same names, of the same shape.
        filter_length: As for `bss_eval`.

    Returns:
        Scores by source name.

    Raises:
        MetricError: As for `bss_eval`.

    Source:
        Ozerov et al., "Adaptation of Bayesian models for single-channel source separation", 2007, for NSDR.
    """
    scores = bss_eval(references, estimates, filter_length=filter_length)
    n_samples = min(np.shape(signal)[-1] for signal in (*references.values(), *estimates.values()))
    track = {}
    for name, score in scores.items():
        reference = {name: references[name]}
        mixture_sdr = bss_eval(reference, {name: mixture}, filter_length=filter_length)[name].sdr
        track[name] = TrackScores(
            sdr=score.sdr,
            sir=score.sir,
            sar=score.sar,
            nsdr=0.0 if score.sdr == mixture_sdr else score.sdr - mixture_sdr,
            si_sdr=si_sdr(references[name], estimates[name]),
            n_samples=n_samples,
            silent_reference=not np.asarray(references[name])[..., :n_samples].any(),
        )
    return track


def global_means(tracks: Sequence[Mapping[str, TrackScores]]) -> dict[str, GlobalMeans]:
    """Average the scores of tracks by their lengths: GNSDR, GSIR and GSAR.

    A track with a silent reference is left out, for all its sources since SIR needs all, and counted. A mean
    over any -inf is -inf.

    Args:
        tracks: Results of `score_track`, all with the same source names.

    Returns:
        Means by source name.

    Raises:
        MetricError: There is no track to average, or the names differ.

    Source:
        Hsu and Jang, "On the improvement of singing voice separation for monaural recordings using the MIR-1K
        dataset", 2010.
    """
    kept = [track for track in tracks if not any(score.silent_reference for score in track.values())]
    if not kept:
        raise MetricError(
            f"none of {len(tracks)} tracks can be averaged: give one without a silent reference"
        )
    for track in kept:
        _check_names(kept[0], track, "scores of a track")
    means = {}
    for name in kept[0]:
        scores = [track[name] for track in kept]
        weights = [score.n_samples for score in scores]
        columns = np.array([(score.nsdr, score.sir, score.sar, score.si_sdr) for score in scores]).T
        nsdr, sir, sar, scale_invariant = (
            -math.inf if -math.inf in column else float(np.average(column, weights=weights))
            for column in columns
        )
        means[name] = GlobalMeans(nsdr, sir, sar, scale_invariant, len(kept), len(tracks) - len(kept))
    return means


def _check_names(expected: Iterable[str], found: Iterable[str], what: str) -> None:
    if set(expected) != set(found):
        raise MetricError(f"{what} are named {sorted(found)}: name them as the others, {sorted(expected)}")


def _aligned(references: Signals, estimates: Signals) -> Array:
    """Return references and estimates, (2, n_sources, n_channels, n_samples), as long as the shortest."""
    if not references:
        raise MetricError("there are 0 references: give at least one")
    _check_names(references, estimates, "estimates")
    signals = [_checked(f"reference {name!r}", signal) for name, signal in references.items()]
    signals += [_checked(f"estimate {name!r}", estimates[name]) for name in references]
    channels = {len(signal) for signal in signals}
    if len(channels) > 1:
        raise MetricError(
            f"references and estimates have {sorted(channels)} channels: give all the same number"
        )
    n_samples = min(signal.shape[1] for signal in signals)
    return np.stack([signal[:, :n_samples] for signal in signals]).reshape(2, len(references), -1, n_samples)


def _checked(what: str, signal: ArrayLike) -> Array:
    array = np.atleast_2d(np.asarray(signal, dtype=np.float64))
    if array.ndim > 2 or not 0 < len(array) <= array.shape[1]:
        raise MetricError(
            f"{what} has shape {np.shape(signal)}: give (n_samples,) or (n_channels, n_samples)"
        )
    if not np.isfinite(array).all():
        raise MetricError(f"{what} holds NaN or infinity: give finite samples")
    return array


def _energies(references: Array, estimates: Array, n_taps: int) -> Array:
    """Decompose one channel: energies of s, e - s, p - s, p and e - p of each estimate, (n_sources, 5)."""
    n_sources = len(references)
    norms = np.sqrt(np.vecdot(references, references))[:, None]
    # Unit norms keep the rank decision from depending on how loud one reference is beside another.
    unit = references / np.where(norms > 0, norms, 1)
    n_fft = next_fast_len(max(4096, 8 * n_taps), real=True)
    batches = _batches([*unit, *estimates], n_fft, n_taps - 1)
    # lags[i, j, k] is the inner product of reference i delayed by k samples and signal j, references first.
    heads = slice(n_fft - n_taps + 1)
    cross_spectra = sum(
        (rfft(frames[:n_sources, :, heads], n_fft).conj()[:, None] * rfft(frames)).sum(axis=2)
        for frames in batches
    )
    lags = irfft(cross_spectra, n_fft)[..., :n_taps]
    joint, own = (rfft(taps, n_fft) for taps in _filters(lags[:, :n_sources], lags[:, n_sources:]))
    energies = np.zeros((n_sources, 5))
    for frames in batches:
        spectra = rfft(frames[:n_sources])
        projections = irfft((joint[:, :, None] * spectra[:, None]).sum(axis=0), n_fft)[..., n_taps - 1 :]
        targets = irfft(own[:, None] * spectra, n_fft)[..., n_taps - 1 :]
        aligned = frames[n_sources:, :, n_taps - 1 :]
        for row, s, p, estimate in zip(energies, targets, projections, aligned, strict=True):
            # Residuals are taken sample by sample: differences of energies lose high scores to rounding.
            row += [_energy(part) for part in (s, estimate - s, p - s, p, estimate - p)]
    return energies


def _batches(signals: Sequence[Array], n_fft: int, overlap: int) -> list[Array]:
    """Cut signals into overlap-save frames: views (n_signals, at most BATCH_SIZE, n_fft) in order of time."""
    n_samples, hop = len(signals[0]), n_fft - overlap
    n_frames = math.ceil((n_samples + overlap) / hop)
    padded = np.zeros((len(signals), overlap + n_frames * hop))
    for row, signal in zip(padded, signals, strict=True):
        row[overlap : overlap + n_samples] = signal
    frames = sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
    return [frames[:, start : start + BATCH_SIZE] for start in range(0, n_frames, BATCH_SIZE)]


def _filters(lags: Array, products: Array) -> tuple[Array, Array]:
    """Return the taps that project each estimate on all references, and on its own reference.

    Args:
        lags: Inner products of delayed reference i and reference j, (n_sources, n_sources, n_taps).
        products: Inner products of delayed reference i and estimate j, likewise.

    Returns:
        Taps (n_sources, n_estimates, n_taps), and (n_sources, n_taps).
    """
    n_sources, _, n_taps = products.shape
    columns = products.swapaxes(1, 2)
    stacked = columns.reshape(n_sources * n_taps, -1)
    try:
        factor = _cholesky(_gram(lags))
        joint = cho_solve((factor, False), stacked, check_finite=False)
        # Its leading block factors the first reference's own matrix; the others are no worse conditioned.
        own = [cho_solve((factor[:n_taps, :n_taps], False), products[0, 0], check_finite=False)]
        own += [cho_solve(cho_factor(toeplitz(lags[i, i])), products[i, i]) for i in range(1, n_sources)]
    except LinAlgError:
        joint = _least_norm(_gram(lags), stacked)
        own = [_least_norm(toeplitz(lags[i, i]), products[i, i]) for i in range(n_sources)]
    return joint.reshape(columns.shape).swapaxes(1, 2), np.stack(own)


def _gram(lags: Array) -> Array:
    """Return inner products of all delayed references: symmetric, of Toeplitz blocks, in Fortran order."""
    n_sources, _, n_taps = lags.shape
    gram = np.empty((n_sources, n_taps, n_sources, n_taps))
    for i, j in np.ndindex(n_sources, n_sources):
        gram[i, :, j] = toeplitz(lags[i, j], lags[j, i])
    return gram.reshape(n_sources * n_taps, -1).T


def _cholesky(gram: Array) -> Array:
    """Return the upper factor, written over the matrix; raise LinAlgError where the rank is not full."""
    size = norm(gram, 1, check_finite=False)
    factor: Array = cho_factor(gram, overwrite_a=True, check_finite=False)[0]
    if dpocon(factor, size)[0] < RANK_TOLERANCE:
        raise LinAlgError("the delayed references are linearly dependent")
    return factor


def _least_norm(gram: Array, columns: Array) -> Array:
    values, vectors = eigh(gram)
    kept = values > RANK_TOLERANCE * values[-1]
    taps: Array = vectors[:, kept] @ ((vectors[:, kept] / values[kept]).T @ columns)
    return taps


def _energy(signal: Array) -> float:
    return float(np.vdot(signal, signal))


def _decibels(numerator: float, denominator: float) -> float:
    if numerator == 0:
        return -math.inf
    return 10 * math.log10(numerator / denominator) if denominator > 0 else math.inf
