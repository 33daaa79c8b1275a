"""Training mixtures: what is random, what is kept, what is covered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from duetto.dsp.stft import STFT
from duetto.training.config import MixingConfig, SceneConfig
from duetto.training.data.sampler import MixtureSampler, fixed_excerpts
from duetto.training.data.sources import Recording

LENGTHS = (700, 1000, 1500)


def numbered_tracks() -> list[Recording]:
    """Every sample has a value of its own: accompaniments from 1 on, vocals from 100 001 on."""
    starts = np.cumsum((1, *LENGTHS))
    return [
        Recording(
            vocals=np.arange(start + 100_000, start + 100_000 + length, dtype=np.float32)[None],
            accompaniment=np.arange(start, start + length, dtype=np.float32)[None],
        )
        for start, length in zip(starts, LENGTHS, strict=False)
    ]


def mixer(n_samples: int = 400, seed: int = 0, **settings: float) -> MixtureSampler:
    config = MixingConfig.model_validate(settings)
    return MixtureSampler(numbered_tracks(), config, n_samples=n_samples, sample_rate=16_000, seed=seed)


def track_and_place(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Track number and position in it of numbered samples, vocals or accompaniment."""
    number = values.astype(np.int64) % 100_000 - 1
    edges = np.cumsum((0, *LENGTHS))
    track = np.searchsorted(edges, number, side="right") - 1
    return track, number - edges[track]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = mixer(), mixer()
    other.batch(3, range(8))  # what was drawn before does not matter
    assert np.array_equal(one.batch(5, range(8)), other.batch(5, range(8)))
    assert not np.array_equal(one.batch(5, range(8)), one.batch(6, range(8)))
    assert not np.array_equal(one.batch(5, range(8)), mixer(seed=1).batch(5, range(8)))
    assert one.batch(5, range(8)).shape == (8, 2, 1, 400)
    assert one.batch(5, range(8)).dtype == np.float32


def test_an_excerpt_depends_on_its_number_alone_whichever_process_mixes_it() -> None:
    whole = mixer().batch(5, range(8))
    parts = [mixer().batch(5, range(rank, 8, 3)) for rank in range(3)]
    for rank, part in enumerate(parts):
        assert np.array_equal(part, whole[rank::3])
    assert len({excerpt.tobytes() for excerpt in whole}) == 8


def test_recordings_are_drawn_by_length_and_sampling_weight() -> None:
    tracks = [
        Recording(np.full((1, 1000), 1, np.float32), np.full((1, 1000), 1, np.float32), sampling_weight=0.0),
        Recording(np.full((1, 1000), 2, np.float32), np.full((1, 1000), 2, np.float32), sampling_weight=3.0),
        Recording(np.full((1, 3000), 3, np.float32), np.full((1, 3000), 3, np.float32)),
    ]
    drawn = MixtureSampler(tracks, MixingConfig(remix=1), n_samples=4, sample_rate=16_000, seed=0).batch(
        0, range(500)
    )
    for source in (0, 1):
        values, counts = np.unique(drawn[:, source, 0, 0], return_counts=True)
        assert values.tolist() == [2, 3]
        assert counts[0] == pytest.approx(250, abs=5 * np.sqrt(125))


def test_a_circular_shift_is_a_rotation_of_one_source_against_the_other() -> None:
    batch = mixer(n_samples=2 * max(LENGTHS)).batch(0, range(30))[:, :, 0]
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
    for vocals, accompaniment in mixer(circular_shift=False).batch(0, range(30))[:, :, 0]:
        assert np.array_equal(vocals - accompaniment, np.full(400, 100_000))


def test_sources_that_stay_together_are_played_at_one_pitch_and_in_time(rng: np.random.Generator) -> None:
    noise = rng.normal(size=(1, 6000)).astype(np.float32)
    config = MixingConfig(pitch_semitones=3, circular_shift=False)
    together = MixtureSampler([Recording(noise, noise)], config, n_samples=500, sample_rate=16_000, seed=0)
    batch = together.batch(0, range(40))[:, :, 0]
    assert np.array_equal(batch[:, 0], batch[:, 1])
    assert len({excerpt.tobytes() for excerpt in batch[:, 0]}) == 40


@pytest.mark.parametrize(("remix", "least", "most"), [(0.0, 0, 0), (0.5, 50, 150), (1.0, 150, 250)])
def test_remix_is_the_probability_of_another_accompaniment(remix: float, least: int, most: int) -> None:
    batch = mixer(n_samples=1, remix=remix).batch(0, range(300))[:, :, 0]
    foreign = track_and_place(batch[:, 0, 0])[0] != track_and_place(batch[:, 1, 0])[0]
    assert least <= foreign.sum() <= most  # about a third of the foreign draws draw the same track


def test_every_second_of_audio_is_equally_likely() -> None:
    track, _ = track_and_place(mixer(n_samples=1).batch(0, range(800))[:, 0, 0, 0])
    assert np.bincount(track) == pytest.approx([175, 250, 375], abs=50)


def test_gains_fill_their_ranges_and_stay_in_them() -> None:
    tracks = [Recording(vocals=np.ones((1, 10), np.float32), accompaniment=np.ones((1, 10), np.float32))]
    config = MixingConfig(gain_db=6, balance_db=4)
    batch = MixtureSampler(tracks, config, n_samples=5, sample_rate=16_000, seed=0).batch(0, range(2000))
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
    tones = MixtureSampler(
        [Recording(tone[None], tone[None])], config, n_samples=n_samples, sample_rate=16_000, seed=0
    )
    batch = tones.batch(0, range(60))[:, :, 0]
    assert batch.shape == (60, 2, n_samples)
    spectra = np.abs(np.fft.rfft(batch * np.hanning(n_samples), axis=-1))
    semitones = 12 * np.log2(spectra.argmax(-1) * 16000 / n_samples / hertz)
    assert 2.7 < np.abs(semitones).max() < 3.2  # speeds are small fractions, and bins 0.03 semitones wide
    assert np.abs(np.corrcoef(semitones.T)[0, 1]) < 0.3
    assert np.abs(batch[..., 100:-100]).max() == pytest.approx(1, abs=0.01)


def test_no_gain_leaves_samples_as_they_are() -> None:
    assert set(np.unique(mixer().batch(0, range(50)))) <= set(
        np.concatenate([[*t.vocals[0], *t.accompaniment[0]] for t in numbered_tracks()])
    )


@given(
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
    n_frames=st.integers(1, 12),
    hop_length=st.integers(8, 64),
)
def test_fixed_excerpts_hold_every_frame_once(lengths: list[int], n_frames: int, hop_length: int) -> None:
    rng = np.random.default_rng(0)
    stft = STFT(n_fft=128, hop_length=hop_length, window="sine", centred=False)
    tracks = [Recording(*rng.standard_normal((2, 1, length)).astype(np.float32)) for length in lengths]
    excerpts = fixed_excerpts(tracks, stft, n_frames=n_frames, shift_samples=0)
    assert excerpts.shape[1:] == (2, 1, 128 + (n_frames - 1) * hop_length)
    row = 0
    for track in tracks:
        whole = stft.forward(np.concatenate([track.vocals, track.accompaniment]))
        n_excerpts = max(1, -(-whole.shape[-2] // n_frames))
        pieces = stft.forward(excerpts[row : row + n_excerpts, :, 0])
        joined = np.concatenate(list(pieces), axis=-2)
        assert np.array_equal(joined[..., : whole.shape[-2], :], whole)
        row += n_excerpts
    assert row == len(excerpts)


def test_a_tail_is_filled_with_zeros() -> None:
    stft = STFT(n_fft=128, hop_length=64, window="sine", centred=False)
    track = Recording(vocals=np.ones((1, 500), np.float32), accompaniment=np.full((1, 500), 2, np.float32))
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
        assert np.array_equal(accompaniment[:700], track.accompaniment[0])
        assert np.array_equal(vocals[:700], np.roll(track.vocals[0], copy * shift_samples))


def test_a_full_batch_of_equal_levels_has_each_track_at_0_db(rng: np.random.Generator) -> None:
    stft = STFT(n_fft=128, hop_length=64, window="sine", centred=False)
    sources = rng.standard_normal((2, 2, 1, 576)).astype(np.float32)
    sources[0] *= np.array([[[0.5]], [[0.02]]])
    sources[:, :, :, :200] *= 0.1  # levels are those of whole tracks, not of excerpts
    tracks = [Recording(*track) for track in sources]
    excerpts = fixed_excerpts(tracks, stft, n_frames=8, shift_samples=0, equal_level=True)
    assert len(excerpts) == 2
    np.testing.assert_allclose(np.sqrt(np.square(excerpts).mean(axis=(2, 3))), 0.1, rtol=1e-5)


# --- levels, layers, silence, scenes


@pytest.mark.parametrize(
    ("settings", "vocals", "accompaniment"),
    [
        ({}, 243744200.0, 3705100.0),
        ({"remix": 0.7, "pitch_semitones": 4}, 243771858.0703125, 4111037.587083161),
        (
            {"remix": 0.7, "pitch_semitones": 4, "gain_db": 3, "balance_db": 5},
            198524046.39453125,
            3917444.9720026255,
        ),
    ],
)
def test_recipes_without_scenes_draw_what_they_always_drew(
    settings: dict[str, float], vocals: float, accompaniment: float
) -> None:
    """Golden sums since every mixture has its own seed."""
    sums = mixer(**settings).batch(7, range(6)).sum((0, 2, 3), dtype=float)
    assert sums == pytest.approx([vocals, accompaniment], rel=1e-6)


def noises(n_tracks: int = 3, n_samples: int = 4_000) -> list[Recording]:
    chance = np.random.default_rng(0)
    levels = [0.01, 0.1, 0.5]
    return [
        Recording(*(level * chance.standard_normal((2, 1, n_samples))).astype(np.float32))
        for level in levels[:n_tracks]
    ]


def drawn(tracks: list[Recording], n_mixtures: int, n_samples: int = 2_000, **settings: object) -> NDArray:
    config = MixingConfig.model_validate(settings)
    random = MixtureSampler(tracks, config, n_samples=n_samples, sample_rate=16_000, seed=0)
    return random.batch(0, range(n_mixtures))


def levels_db(batch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of every source (n_mixtures, 2), over channels and time."""
    return 10 * np.log10(np.square(batch, dtype=float).mean((2, 3)))


def test_sources_are_missing_with_their_probabilities() -> None:
    batch = drawn(noises(), 400, 50, no_vocals=0.25, no_accompaniment=0.2)
    silent = ~batch.any(axis=(2, 3))
    assert silent[:, 0].mean() == pytest.approx(0.25, abs=0.07)
    assert silent[:, 1].mean() == pytest.approx(0.75 * 0.2, abs=0.06)
    assert not silent.all(1).any()


@pytest.mark.parametrize(("setting", "silent"), [("no_vocals", 0), ("no_accompaniment", 1)])
@pytest.mark.parametrize("scene", [None, {"lossy_coding": 0}])
def test_a_probability_of_1_silences_a_source_in_every_mixture(
    setting: str, silent: int, scene: dict[str, float] | None
) -> None:
    batch = drawn(noises(), 10, **{setting: 1.0}, scene=scene, equal_level=True, gain_db=6)
    assert not batch[:, silent].any()
    assert batch[:, 1 - silent].any((1, 2)).all()
    assert np.isfinite(batch).all()


def test_equal_levels_are_equal_and_balance_comes_after() -> None:
    assert levels_db(drawn(noises(), 20, remix=1, equal_level=True)) == pytest.approx(-20, abs=1e-3)
    balance = np.subtract(*levels_db(drawn(noises(), 300, 200, remix=1, equal_level=True, balance_db=8)).T)
    assert 7.7 < np.abs(balance).max() < 8.001
    raw = np.subtract(*levels_db(drawn(noises(), 300, 200, remix=1)).T)
    assert np.abs(raw).max() > 30  # these recordings' own


def test_silence_is_not_made_as_loud_as_music() -> None:
    silence = [Recording(np.full((1, 500), 1e-6, np.float32), np.ones((1, 500), np.float32))]
    batch = drawn(silence, 3, 100, equal_level=True)
    assert batch[:, 0] == pytest.approx(1e-4)
    assert batch[:, 1] == pytest.approx(0.1)


def test_second_music_lies_0_to_10_db_below_the_first() -> None:
    tracks = [Recording(np.ones((1, 100), np.float32), np.ones((1, 100), np.float32))]
    batch = drawn(tracks, 200, 10, second_music=0.5)
    assert (batch[:, 0] == 1).all()
    above = batch[:, 1, 0] - 1
    assert (above == above[:, :1]).all()
    second = above[:, 0][above[:, 0] > 0]
    assert second.size == pytest.approx(100, abs=25)
    assert 10**-0.5 - 1e-6 < second.min() < 0.35
    assert 0.9 < second.max() < 1 + 1e-6


def test_scenes_are_stereo_and_depend_on_seed_and_step_alone() -> None:
    settings = MixingConfig.model_validate({"remix": 0.5, "pitch_semitones": 2, "scene": {}})
    one, other = (
        MixtureSampler(noises(), settings, n_samples=3_000, sample_rate=16_000, seed=4) for _ in range(2)
    )
    other.batch(0, range(1))
    batch = one.batch(2, range(5))
    assert batch.shape == (5, 2, 2, 3_000)
    assert batch.dtype == np.float32
    assert np.isfinite(batch).all()
    assert np.array_equal(batch, other.batch(2, range(5)))
    assert (batch[:, :, 0] != batch[:, :, 1]).any()
    assert not np.array_equal(batch, one.batch(3, range(5)))


@pytest.mark.parametrize("scene", [None, {}])
def test_solo_recordings_are_mixed_with_others(scene: dict[str, float] | None) -> None:
    """A voice that has no music of its own gets another's, though nothing is remixed."""
    ones = np.ones((1, 300), np.float32)
    tracks = [Recording(ones, None), Recording(None, 2 * ones), Recording(None, 2 * ones)]
    batch = drawn(tracks, 20, 40, scene=scene)
    assert np.isfinite(batch).all()
    assert batch.any((2, 3)).all()
    if scene is None:
        assert (batch == np.array([1, 2])[:, None, None]).all()


def test_a_full_batch_leaves_solo_recordings_out() -> None:
    stft = STFT(n_fft=128, hop_length=64, window="sine", centred=False)
    ones = np.ones((1, 500), np.float32)
    tracks = [Recording(ones, None), Recording(ones, 2 * ones), Recording(None, ones)]
    excerpts = fixed_excerpts(tracks, stft, n_frames=100, shift_samples=0)
    assert len(excerpts) == 1
    assert (excerpts[0, :, 0, :500] == [[1], [2]]).all()


@pytest.mark.parametrize("scene", [None, {}])
def test_music_in_stereo_stays_so_in_scenes_alone(scene: dict[str, float] | None) -> None:
    """Its sides may change places, and a second one comes as it is; without scenes all is mono."""
    sides = np.repeat(np.array([[1], [3]], np.float32), 300, axis=1)
    tracks = [Recording(np.ones((1, 300), np.float32), None), Recording(None, sides)]
    music = drawn(tracks, 20, 40, scene=scene)[:, 1, :, 0]
    assert {tuple(levels) for levels in music.tolist()} == (
        {(1.0, 3.0), (3.0, 1.0)} if scene is not None else {(2.0,)}
    )
    doubled = drawn(tracks, 20, 40, scene=scene, second_music=1.0)[:, 1, :, 0]
    assert (doubled.mean(1) > 2).all()
    assert (doubled.mean(1) <= 4).all()


def steady(level: float, n_samples: int = 9_000) -> NDArray[np.float32]:
    return np.full((1, n_samples), level, np.float32)


def test_a_multitrack_song_is_mixed_of_its_own_tracks() -> None:
    """Each track is a tone of its own; a mixture holds each, in the middle or aside, louder or softer."""
    times = np.arange(8_000) / 16_000
    tones = [np.sin(2 * np.pi * f * times).astype(np.float32)[None] for f in (200, 300, 400, 500)]
    song = Recording(
        tones[0] + tones[1], tones[2] + tones[3], vocal_tracks=tuple(tones[:2]), tracks=tuple(tones[2:])
    )
    config = MixingConfig(scene=SceneConfig())
    batch = MixtureSampler([song], config, n_samples=4_000, sample_rate=16_000, seed=0).batch(0, range(40))
    power = np.abs(np.fft.rfft(batch, axis=-1)).max(axis=2) ** 2  # bins of 4 Hz
    vocals, music = power[:, 0][:, [50, 75, 100, 125]], power[:, 1][:, [50, 75, 100, 125]]
    assert (vocals[:, 2:] < 1e-3 * vocals.max(axis=1, keepdims=True)).all()
    assert (music[:, :2] < 1e-3 * music.max(axis=1, keepdims=True)).all()
    assert (music[:, 2:].min(axis=1) > 0.02 * music.max(axis=1)).all()
    balances = music[:, 2] / music[:, 3]
    assert balances.max() > 2 * balances.min()
    takes = np.sort(vocals[:, :2], axis=1)
    assert (takes[:, 0] > 1e-3 * takes[:, 1]).any()  # at times both takes
    assert (takes[:, 0] < 1e-6 * takes[:, 1]).any()  # at times one


def test_instruments_of_another_song_join_a_song() -> None:
    songs = [Recording(None, steady(level), tracks=(steady(level), steady(level))) for level in (1.0, 100.0)]
    voice = Recording(steady(1.0), None)
    scene = SceneConfig(other_tracks=1.0)
    config = MixingConfig(scene=scene)
    batch = MixtureSampler([voice, *songs], config, n_samples=500, sample_rate=16_000, seed=0).batch(
        0, range(40)
    )
    levels = np.abs(batch[:, 1]).mean(axis=(1, 2))
    assert (levels < 5).any()  # tracks of the quiet song alone
    assert (levels > 20).any()


def test_excerpts_begin_where_the_voice_sounds_most_of_the_time() -> None:
    resting = np.zeros((1, 40_000), np.float32)
    resting[:, :10_000] = 0.3
    config = MixingConfig(scene=SceneConfig())
    tracks = [Recording(resting, steady(0.1, 40_000))]
    batch = MixtureSampler(tracks, config, n_samples=2_000, sample_rate=16_000, seed=0).batch(0, range(100))
    sounding = (np.abs(batch[:, 0]).max(axis=(1, 2)) > 0.01).mean()
    assert sounding > 0.5  # 1 - 0.75 ** 4 = 0.68; a quarter by chance


def test_mixtures_end_where_the_voice_ends() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 16_000)).astype(np.float32)
    tracks = [Recording(noise, None, bandwidth=3_000.0), Recording(None, noise)]
    batch = MixtureSampler(tracks, MixingConfig(), n_samples=8_000, sample_rate=16_000, seed=0).batch(
        0, range(3)
    )
    power = np.abs(np.fft.rfft(batch, axis=-1)) ** 2  # bins of 2 Hz
    assert (power[..., 1_700:].sum(-1) < 1e-6 * power.sum(-1)).all()
    assert (power[..., :1_400].sum(-1) > 0.8 * power.sum(-1)).all()


def test_the_balance_lies_around_its_centre() -> None:
    settings = {"equal_level": True, "balance_db": 2.0, "balance_centre_db": -6.0}
    levels = levels_db(drawn(noises(), 60, **settings))
    balances = levels[:, 0] - levels[:, 1]
    assert balances.mean() == pytest.approx(-6, abs=0.7)
    assert balances.min() > -8.5
    assert balances.max() < -3.5


@pytest.mark.slow
def test_a_slow_voice_has_longer_notes_as_high_or_higher() -> None:
    """Notes of 100 ms with as long a rest after each; the tone is 440 Hz."""
    times = np.arange(48_000) / 16_000
    notes = np.sin(2 * np.pi * 440 * times) * (times % 0.2 < 0.1)
    tracks = [Recording(notes.astype(np.float32)[None], steady(0.1, 48_000))]
    config = MixingConfig(scene=SceneConfig(slow=1.0))
    batch = MixtureSampler(tracks, config, n_samples=32_000, sample_rate=16_000, seed=0).batch(0, range(10))
    for voice in batch[:, 0].mean(axis=1):
        pitch = np.abs(np.fft.rfft(voice)).argmax() / 2
        assert 440 * 2 ** (-2.5 / 12) < pitch < 440 * 2 ** (8.5 / 12)
        power = np.square(voice).reshape(-1, 80).mean(axis=1)  # 200 values a second
        rhythm = np.abs(np.fft.rfft(power - power.mean()))[2:].argmax() / 2 + 1
        assert 1.9 < rhythm < 4  # five notes a second before
