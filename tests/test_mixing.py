"""Training mixtures: what is random, what is kept, what is covered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from duetto.stft import STFT
from duetto.train.config import MixingConfig
from duetto.train.mixing import RandomMixer, Sources, fixed_excerpts

LENGTHS = (700, 1000, 1500)


def numbered_tracks() -> list[Sources]:
    """Every sample has a value of its own: accompaniments from 1 on, vocals from 100 001 on."""
    starts = np.cumsum((1, *LENGTHS))
    return [
        Sources(
            vocals=np.arange(start + 100_000, start + 100_000 + length, dtype=np.float32),
            accompaniment=np.arange(start, start + length, dtype=np.float32),
        )
        for start, length in zip(starts, LENGTHS, strict=False)
    ]


def mixer(n_samples: int = 400, seed: int = 0, **settings: float) -> RandomMixer:
    config = MixingConfig.model_validate(settings)
    return RandomMixer(numbered_tracks(), config, n_samples=n_samples, sample_rate=16_000, seed=seed)


def track_and_place(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Track number and position in it of numbered samples, vocals or accompaniment."""
    number = values.astype(np.int64) % 100_000 - 1
    edges = np.cumsum((0, *LENGTHS))
    track = np.searchsorted(edges, number, side="right") - 1
    return track, number - edges[track]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = mixer(), mixer()
    other.batch(3, 8)  # what was drawn before does not matter
    assert np.array_equal(one.batch(5, 8), other.batch(5, 8))
    assert not np.array_equal(one.batch(5, 8), one.batch(6, 8))
    assert not np.array_equal(one.batch(5, 8), mixer(seed=1).batch(5, 8))
    assert one.batch(5, 8).shape == (8, 2, 1, 400)
    assert one.batch(5, 8).dtype == np.float32


def test_a_circular_shift_is_a_rotation_of_one_source_against_the_other() -> None:
    batch = mixer(n_samples=2 * max(LENGTHS)).batch(0, 30)[:, :, 0]
    offsets = []
    for vocals, accompaniment in batch:
        (track, place), (other_track, other_place) = track_and_place(vocals), track_and_place(accompaniment)
        length = LENGTHS[track[0]]
        assert set(track) == set(other_track) == {track[0]}
        assert np.array_equal(np.sort(place[:length]), np.arange(length))  # every sample once in each turn
        assert np.array_equal(place, (place[0] + np.arange(place.size)) % length)
        offsets.append(set((place - other_place) % length))
    assert all(len(offset) == 1 for offset in offsets)  # one shift for the whole excerpt
    assert len({shift for offset in offsets for shift in offset}) > 25


def test_without_shift_and_remix_the_sources_stay_together() -> None:
    for vocals, accompaniment in mixer(circular_shift=False).batch(0, 30)[:, :, 0]:
        assert np.array_equal(vocals - accompaniment, np.full(400, 100_000))


@pytest.mark.parametrize(("remix", "least", "most"), [(0.0, 0, 0), (0.5, 50, 150), (1.0, 150, 250)])
def test_remix_is_the_share_of_foreign_accompaniments(remix: float, least: int, most: int) -> None:
    batch = mixer(n_samples=1, remix=remix).batch(0, 300)[:, :, 0]
    foreign = track_and_place(batch[:, 0, 0])[0] != track_and_place(batch[:, 1, 0])[0]
    assert least <= foreign.sum() <= most  # about a third of the foreign draws draw the same track


def test_every_second_of_audio_is_equally_likely() -> None:
    track, _ = track_and_place(mixer(n_samples=1).batch(0, 3200)[:, 0, 0, 0])
    assert np.bincount(track) == pytest.approx([700, 1000, 1500], abs=100)


def test_gains_fill_their_ranges_and_stay_in_them() -> None:
    tracks = [Sources(vocals=np.ones(10, np.float32), accompaniment=np.ones(10, np.float32))]
    config = MixingConfig(gain_db=6, balance_db=4)
    batch = RandomMixer(tracks, config, n_samples=5, sample_rate=16_000, seed=0).batch(0, 2000)
    decibels = 20 * np.log10(batch[..., 0, 0].astype(float))
    gain, balance = decibels.mean(1), decibels[:, 0] - decibels[:, 1]
    for values, limit in ((gain, 6), (balance, 4)):
        assert 0.98 * limit < np.abs(values).max() < limit * (1 + 1e-5)
        assert np.std(values) == pytest.approx(limit / 3**0.5, rel=0.05)  # uniform
    assert abs(np.corrcoef(gain, balance)[0, 1]) < 0.1


def test_each_source_is_played_at_a_pitch_of_its_own_within_the_range(rng: np.random.Generator) -> None:
    n_samples, hertz = 8192, 1000
    tone = np.sin(2 * np.pi * hertz * np.arange(16000) / 16000).astype(np.float32)
    config = MixingConfig(pitch_semitones=3)
    tones = RandomMixer([Sources(tone, tone)], config, n_samples=n_samples, sample_rate=16_000, seed=0)
    batch = tones.batch(0, 60)[:, :, 0]
    assert batch.shape == (60, 2, n_samples)
    spectra = np.abs(np.fft.rfft(batch * np.hanning(n_samples), axis=-1))
    semitones = 12 * np.log2(spectra.argmax(-1) * 16000 / n_samples / hertz)
    assert 2.7 < np.abs(semitones).max() < 3.2  # speeds are small fractions, and bins 0.03 semitones wide
    assert np.abs(np.corrcoef(semitones.T)[0, 1]) < 0.3
    assert np.abs(batch[..., 100:-100]).max() == pytest.approx(1, abs=0.01)


def test_no_gain_leaves_samples_as_they_are() -> None:
    assert set(np.unique(mixer().batch(0, 50))) <= set(
        np.concatenate([np.concatenate([t.vocals, t.accompaniment]) for t in numbered_tracks()])
    )


@given(
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
    n_frames=st.integers(1, 12),
    hop_length=st.integers(8, 64),
)
def test_fixed_excerpts_hold_every_frame_once(lengths: list[int], n_frames: int, hop_length: int) -> None:
    rng = np.random.default_rng(0)
    stft = STFT(n_fft=128, hop_length=hop_length, window="sine", centred=False)
    tracks = [Sources(*rng.standard_normal((2, length)).astype(np.float32)) for length in lengths]
    excerpts = fixed_excerpts(tracks, stft, n_frames=n_frames, shift_samples=0)
    assert excerpts.shape[1:] == (2, 1, 128 + (n_frames - 1) * hop_length)
    row = 0
    for track in tracks:
        whole = stft.forward(np.stack([track.vocals, track.accompaniment]))
        n_excerpts = max(1, -(-whole.shape[-1] // n_frames))
        pieces = stft.forward(excerpts[row : row + n_excerpts, :, 0])
        joined = np.concatenate(list(pieces), axis=-1)
        assert np.array_equal(joined[..., : whole.shape[-1]], whole)
        row += n_excerpts
    assert row == len(excerpts)


def test_a_tail_is_filled_with_zeros() -> None:
    stft = STFT(n_fft=128, hop_length=64, window="sine", centred=False)
    track = Sources(vocals=np.ones(500, np.float32), accompaniment=np.full(500, 2, np.float32))
    excerpts = fixed_excerpts([track], stft, n_frames=4, shift_samples=0)
    assert len(excerpts) == 2  # 6 frames in excerpts of 4
    assert np.array_equal(excerpts[1, :, 0], np.repeat([[1.0], [2.0]], 320, 1) * (np.arange(320) < 500 - 256))


@pytest.mark.parametrize("shift_samples", [100, 250, 699, 700, 10_000])
def test_full_batches_hold_one_copy_for_every_shift(shift_samples: int) -> None:
    stft = STFT(n_fft=128, hop_length=64, window="sine", centred=False)
    track = numbered_tracks()[0]
    excerpts = fixed_excerpts([track], stft, n_frames=100, shift_samples=shift_samples)
    assert len(excerpts) == -(-700 // shift_samples)
    for copy, (vocals, accompaniment) in enumerate(excerpts[:, :, 0]):
        assert np.array_equal(accompaniment[:700], track.accompaniment)
        assert np.array_equal(vocals[:700], np.roll(track.vocals, copy * shift_samples))
