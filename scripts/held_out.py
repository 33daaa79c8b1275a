"""Scores a model on mixtures of held-out singers and music, and on vocals or music alone.

Usage: python scripts/held_out.py ../shared/data [--band FOLDER] [--model duetto] [--out metrics.json]

Held-out recordings are in no training set of `duetto`. Every held-out voice is mixed at equal energy with
music of every held-out kind, 12 s at most, in three forms: in mono; as a stereo scene with reverberation,
equalisation and compression; and as a produced song, where nearly all vocals are compressed, equalised and
reverberated, many are double-tracked, harmonised or echoed, and the mixture is compressed and limited. The
clips of the held-out singer of MIR-1K are taken as they are. `--out` writes the scores for
`duetto export --metrics`.

`--band` adds songs that `scripts/render_band.py` rendered with instruments of no training set:

    python scripts/render_band.py FOLDER --first 1000 --songs 13 --fonts /usr/share/sounds/sf2/TimGM6mb.sf2
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np

from duetto import Separator, evaluate, load_audio, load_tracks, si_sdr
from duetto.evaluation.tracks import Track, TrackAudio
from duetto.training.config import SceneConfig
from duetto.training.data.scene import SceneMaker
from duetto.training.data.sources import resample

VOICES = ("vocadito-*", "csd-*", "m4singer-00*")
MUSIC = {
    "games, mixed styles (super_tux_party)": "super_tux_party-*",
    "orchestra and jazz (librosa-data)": "librosa-data-*",
    "electronic and blues (lincity-ng)": "lincity-ng-*",
}
SINGER = "titon"
SECONDS = 12
ALONE_SECONDS = 30
SCENE = SceneConfig(
    double_tracking=0.15, echo=0.1, reverberation=0.6, equalise=0.7, compress=0.4, distort=0.1, widen=0.6
)
"""The voice and the music are those of the recordings."""
PRODUCED = SceneConfig(
    reverberation=0.9, compress=0.9, equalise=0.9, double_tracking=0.4, harmony=0.4, echo=0.3,
    widen=0.9, distort=0.1, master=0.9,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--band", type=Path)
    parser.add_argument("--model", default="duetto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.band and not any(options.band.glob("*.flac")):
        parser.error(f"{options.band} holds no songs; scripts/render_band.py makes some")
    separator = Separator(options.model)
    print("| material | clips | mixture SI-SDR | vocals SI-SDR | vocals GNSDR | accompaniment GNSDR |")
    print("|---|---|---|---|---|---|")
    groups = {}
    for name, tracks in groups_of(options.data, options.band).items():
        scores = evaluate(separator, tracks, jobs=1).scores()
        mixture = float(np.mean([mixture_si_sdr(track) for track in tracks]))
        groups[name] = {"mixture_si_sdr": mixture, **scores}
        vocals, accompaniment = (scores["means"][source] for source in ("vocals", "accompaniment"))
        cells = (mixture, vocals["si_sdr"], vocals["gnsdr"], accompaniment["gnsdr"])
        print(f"| {name} | {len(tracks)} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)
    levels = {
        "vocals of music alone": level(
            separator, recordings(options.data, "instrumental", *MUSIC.values()), "vocals"
        ),
        "accompaniment of voices alone": level(
            separator, recordings(options.data, "vocals", *VOICES), "accompaniment"
        ),
    }
    print()
    for name, value in levels.items():
        print(f"{name}: {value:.1f} dB, mean level against the input")
    if options.out:
        options.out.write_text(json.dumps({"held_out": groups, "levels_db": levels}, indent=1))


def groups_of(data: Path, band: Path | None) -> dict[str, list[Track]]:
    """The mixtures of each kind."""
    kinds = {kind: recordings(data, "instrumental", pattern) for kind, pattern in MUSIC.items()}
    if band:
        kinds["a rendered band"] = sorted(band.glob("*.flac"))
    voices = recordings(data, "vocals", *VOICES)
    singer = [track for track in load_tracks("mir1k", data / "mir-1k", split="all") if track.singer == SINGER]
    groups = {f"karaoke pop (MIR-1K, {SINGER})": singer}
    for form, scene in (("mono", None), ("stereo scenes", SCENE), ("produced", PRODUCED)):
        for kind, music in kinds.items():
            groups[f"{kind}, {form}"] = [
                Track(
                    f"{voice.stem} over {music[k % len(music)].stem}",
                    voice.stem,
                    None,
                    partial(mix, voice, music[k % len(music)], scene, k),
                )
                for k, voice in enumerate(voices)
            ]
    return groups


def recordings(data: Path, folder: str, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in (data / folder).glob(f"{pattern}.opus"))


def mix(
    voice: Path, music: Path, scene: SceneConfig | None, seed: int, balance_db: float = 0.0
) -> TrackAudio:
    """The beginning of a voice over the middle of the music, `balance_db` above it before the master."""
    waveforms, rates = zip(load_audio(voice), load_audio(music), strict=True)
    rate = min(rates)
    vocals, accompaniment = (
        resample(waveform, found, rate, "") for waveform, found in zip(waveforms, rates, strict=True)
    )
    n_samples = min(SECONDS * rate, vocals.shape[-1], accompaniment.shape[-1])
    start = (accompaniment.shape[-1] - n_samples) // 2
    vocals, accompaniment = vocals[:, :n_samples], accompaniment[:, start : start + n_samples]
    rng = np.random.default_rng(seed)
    if scene is None:
        accompaniment = accompaniment.mean(axis=0, keepdims=True)
    else:
        maker = SceneMaker(scene, rate)
        vocals, accompaniment = maker.vocals(vocals, [], rng), maker.music(accompaniment, [], rng)
    equal = np.sqrt(np.sum(accompaniment**2) / np.sum(vocals**2))
    vocals = vocals * np.float32(equal * 10 ** (balance_db / 20))
    if scene is not None:
        vocals, accompaniment = maker.master(np.stack([vocals, accompaniment]), rng)
    return TrackAudio({"vocals": vocals, "accompaniment": accompaniment}, rate)


def mixture_si_sdr(track: Track) -> float:
    audio = track.load()
    return si_sdr(audio.sources["vocals"], audio.mixture)


def level(separator: Separator, paths: list[Path], stem: str) -> float:
    """Mean over recordings of the energy of a stem against that of its song, in decibels."""
    levels = []
    for path in paths:
        audio, rate = load_audio(path)
        song = audio[:, : ALONE_SECONDS * rate]
        ratio = np.sum(separator.separate(song, rate)[stem] ** 2, dtype=float) / np.sum(song**2, dtype=float)
        levels.append(10 * np.log10(ratio + 1e-12))
    return float(np.mean(levels))


if __name__ == "__main__":
    main()
