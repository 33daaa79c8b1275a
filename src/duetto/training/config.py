"""Every setting of training and its default, in tables; `recipes` says where their values come from."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from duetto.dsp.stft import STFT
from duetto.models.metadata import MAX_PASSES, Input

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class STFTConfig(_Table):
    """The transform; the defaults are the papers'."""

    n_fft: Positive = 1024
    hop_length: Positive = 512
    window: Literal["sine", "hann"] = "sine"

    @model_validator(mode="after")
    def _can_be_built(self) -> "STFTConfig":
        self.build(centred=False)
        return self

    def build(self, *, centred: bool) -> STFT:
        """The transform itself."""
        return STFT(n_fft=self.n_fft, hop_length=self.hop_length, window=self.window, centred=centred)


class DRNNConfig(_Table):
    """The deep recurrent network of Huang et al. 2014; no recurrent layer makes the papers' DNN."""

    input: ClassVar[Input] = "magnitude"
    n_channels: ClassVar[int] = 1
    frame_grid: ClassVar[int] = 1
    causal: ClassVar[bool] = True

    kind: Literal["drnn"] = "drnn"
    context: Literal[1, 3, 5] = 3
    n_layers: Positive = 3
    hidden_size: Positive = 1000
    recurrent_layers: tuple[Positive, ...] = (2,)
    n_outputs: Literal[1, 2] = 2
    """1 estimates the vocals alone; the accompaniment is what is left of the mixture."""
    joint_mask: Literal["absolute", "squared", "linear", "none"] = "absolute"
    bias: bool = True

    @model_validator(mode="after")
    def _layers_exist(self) -> "DRNNConfig":
        if any(layer > self.n_layers for layer in self.recurrent_layers):
            raise ValueError(f"recurrent_layers must lie in 1 to n_layers={self.n_layers}")
        if self.n_outputs == 1 and self.joint_mask != "none":
            raise ValueError('n_outputs=1 needs joint_mask="none": one source shares with no other')
        return self

    @property
    def look_ahead(self) -> int:
        """Later frames that a mask depends on."""
        return self.context // 2


class VPNNConfig(_Table):
    """The vector product network of Fan et al. 2017: three numbers in every unit and weight."""

    input: ClassVar[Input] = "magnitude"
    n_channels: ClassVar[int] = 1
    frame_grid: ClassVar[int] = 1
    causal: ClassVar[bool] = True

    kind: Literal["vpnn"] = "vpnn"
    vectors: Literal["window", "colour"] = "window"
    """What makes a bin a vector: its magnitude in three frames (WVPNN), or a spectral colour (CVPNN)."""
    n_layers: Positive = 3
    hidden_size: Positive = 512
    activation: Literal["sigmoid", "tanh", "relu"] = "relu"
    brightest: Annotated[float, Field(gt=0)] = 326.0
    """The magnitude that has the brightest colour, by default that of a sine of full scale."""

    @property
    def look_ahead(self) -> int:
        """Later frames that a mask depends on."""
        return 1 if self.vectors == "window" else 0


class UNetConfig(_Table):
    """A convolutional U-Net that sees complex spectrograms and gives complex masks."""

    input: ClassVar[Input] = "spectrogram"
    causal: ClassVar[bool] = False

    kind: Literal["unet"] = "unet"
    n_channels: Literal[1, 2] = 1
    """1: the middle of a song's channels; 2: the side as well."""
    n_sub_bands: Positive = 10
    """Equal parts of the spectrum that lie over one another as channels."""
    width: Positive = 32
    """Channels at the top."""
    growth: Annotated[int, Field(ge=0)] = 32
    """Channels more on every level below, each of which has half the frames and half the frequencies."""
    n_levels: Positive = 4
    n_blocks: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    """Residual blocks of two convolutions on either side of each level, from the top down; the last number
    holds for all levels below as well."""
    frequency_bottleneck: Positive = 8
    """What the layers across frequencies divide their number by, though not below `least_frequencies`."""
    least_frequencies: Positive = 8

    @property
    def frame_grid(self) -> int:
        """Frames that the lowest level sees as one."""
        return int(2**self.n_levels)

    @property
    def reaches(self) -> list[int]:
        """Frames to either side that a level's convolutions see, on each level."""
        return [2 * self.n_blocks[min(level, len(self.n_blocks) - 1)] for level in range(self.n_levels + 1)]

    @property
    def look_ahead(self) -> int:
        """Later frames that a mask depends on, rounded up to what a sequence in pieces waits for."""
        n_frames = many = self.frame_grid * sum(self.reaches)
        n_frames -= 1
        for reach in self.reaches[:-1]:
            n_frames = (n_frames - reach) // 2
        n_frames -= self.reaches[-1]
        for reach in reversed(self.reaches[:-1]):
            n_frames = 2 * n_frames - reach
        return many - n_frames


CODED_RATES = (8000, 12000, 16000, 24000, 48000)
"""Sample rates of Opus, in hertz."""

NETWORKS: dict[str, type[BaseModel]] = {"drnn": DRNNConfig, "vpnn": VPNNConfig, "unet": UNetConfig}


def kind_of(network: Any) -> str:
    """The key in `NETWORKS` of a network's table, checked or not."""
    return str(network.get("kind", "drnn") if isinstance(network, dict) else network.kind)


NetworkConfig = Annotated[
    Annotated[DRNNConfig, Tag("drnn")]
    | Annotated[VPNNConfig, Tag("vpnn")]
    | Annotated[UNetConfig, Tag("unet")],
    Discriminator(
        kind_of, custom_error_type="kind", custom_error_message=f"kind should be one of {', '.join(NETWORKS)}"
    ),
]


class LossConfig(_Table):
    """The objective; `discrimination` is the papers' gamma."""

    kind: Literal["mse", "kl", "l1", "sdr"] = "mse"
    """Of magnitudes, or with "l1" and "sdr" of complex spectrograms and waveforms."""
    discrimination: Annotated[float, Field(ge=0, lt=1)] = 0.05
    spectrogram: Annotated[float, Field(ge=0)] = 0.3
    """"l1" and "sdr": weight of the error of the spectrogram beside that of the waveform."""


class SceneConfig(_Table):
    """What studios and rooms do to the sources; each number is the share of those to which it happens."""

    formants: Share = 0.4
    """Another throat for the voice."""
    vibrato: Share = 0.15
    tune: Share = 0.0
    """The voice's pitch corrected to the semitones."""
    second_voice: Share = 0.15
    harmony: Share = 0.1
    """The voice once more, a third, a fourth, a fifth or an octave away."""
    double: Share = 0.15
    echo: Share = 0.1
    room: Share = 0.6
    equalise: Share = 0.7
    compress: Share = 0.4
    distort: Share = 0.1
    pause: Share = 0.2
    """A passage without voice; half as often one without music."""
    widen: Share = 0.6
    """Of the music; a fifth as often of the voice."""
    rhythm: Share = 0.3
    """Drums, bass and guitar of `duetto.training.data.rhythm` with the music."""
    lead: Share = 0.2
    """A melody of `duetto.training.data.lead` with the music."""
    master: Share = 0.4
    """Compression and limiting of the mixture as a whole."""
    mono: Share = 0.3
    """Of the scenes: both channels alike, as many recordings are."""
    coding: Share = 0.05
    """Lossy coding of the mixture, whose error counts as accompaniment."""


class MixingConfig(_Table):
    """How training mixtures are made of the tracks' sources."""

    n_frames: Positive = 100
    circular_shift: bool = True
    """Rotate the vocals against the accompaniment by a random time."""
    remix: Share = 0.0
    """Share of the mixtures whose accompaniment comes from another track."""
    gain_db: Annotated[float, Field(ge=0)] = 0.0
    """The whole mixture is made louder or softer by up to so many decibels."""
    pitch_semitones: Annotated[float, Field(ge=0)] = 0.0
    """Each source is played faster or slower by up to so many semitones, as by larger or smaller singers."""
    balance_db: Annotated[float, Field(ge=0)] = 0.0
    """The vocals are made louder or softer than the accompaniment by up to so many decibels."""
    second_music: Share = 0.0
    """Share of the mixtures with another accompaniment over the first, 0 to 10 dB below it."""
    no_vocals: Share = 0.0
    no_accompaniment: Share = 0.0
    equal_level: bool = False
    """Bring both sources to one level before `balance_db`, whatever theirs was."""
    scene: SceneConfig | None = None
    """None mixes mono sources as they are; a table, be it empty, makes stereo scenes of them."""


class OptimiserConfig(_Table):
    """AdamW on random mixtures, or L-BFGS on the fixed tracks ("full") or on random mixtures ("mini")."""

    kind: Literal["adamw", "lbfgs", "muon"] = "adamw"
    """"muon" takes the matrices of the hidden layers, and AdamW the other weights."""
    batch: Literal["full", "mini"] = "mini"
    batch_size: Positive = 32
    """Excerpts in a step, over all devices; in a full batch, excerpts that are in memory at a time."""
    muon_learning_rate: Annotated[float, Field(gt=0)] = 0.02
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Score and keep not the weights but their running mean, of which so much stays in a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """AdamW's peak; it rises over `warm_up_steps`, then falls along a cosine to 1 % at the last step."""
    warm_up_steps: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip_norm: Annotated[float, Field(gt=0)] = 1e9
    iterations: Positive = 20
    """L-BFGS: iterations in a step."""
    corrections: Positive = 50
    """L-BFGS: pairs of steps and gradient changes that are remembered."""
    shift_samples: Annotated[int, Field(ge=0)] = 0
    """Full batch: add a copy of each track with its vocals rotated by every multiple of so many samples."""

    @model_validator(mode="after")
    def _batch_fits(self) -> "OptimiserConfig":
        if self.kind != "lbfgs" and self.batch == "full":
            raise ValueError('batch="full" is for kind="lbfgs"; AdamW and Muon take batch="mini"')
        return self


class RunConfig(_Table):
    """How long, how often, on what."""

    seed: int = 0
    n_steps: Positive = 2000
    evaluate_every: Positive = 100
    """Steps between scorings of the dev tracks, checkpoints and histograms."""
    patience: Positive = 1000
    """Stop after so many scorings without a better dev GNSDR."""
    keep: Literal["best", "last"] = "best"
    """The weights that become best.safetensors: of the step with the best dev GNSDR, or of the last scored
    step, where the dev tracks are not what the network is for."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """"bf16-mixed" pays on GPUs and on CPUs with AMX; elsewhere it is far slower."""
    start: str = ""
    """Weights to begin with: another run's best.safetensors, or the bundle of a U-Net by its name or path."""
    n_listen: Annotated[int, Field(ge=0)] = 2
    """Dev tracks whose audio and spectrograms go to TensorBoard."""


class DataConfig(_Table):
    """Which tracks train; the root folder is given on the command line."""

    dataset: str = "mir1k"
    train: str = "train"
    dev: str = "dev"
    """Tracks that are scored in training; "" for a dataset without such a split."""
    sample_rate: Positive = 16000
    held_out_songs: tuple[str, ...] = ()
    """Songs of the training split that are kept out of training and scored beside the dev split."""
    n_held_out_songs: Annotated[int, Field(ge=0)] = 0
    """So many songs of the training split, the last by name, likewise."""
    held_out_singers: tuple[str, ...] = ()
    """Singers whose tracks are kept out likewise."""
    folder: str = "."
    """Where the dataset lies below the root folder."""
    solo_vocals: tuple[str, ...] = ()
    """Folders below the root with recordings of voices alone."""
    solo_accompaniment: tuple[str, ...] = ()
    """Folders below the root with recordings of music without voice."""
    held_out_recordings: tuple[str, ...] = ()
    """Patterns of names of solo recordings that are kept out; mixtures of them are scored, not trained on."""
    odds: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How likely a second of a solo recording is to be drawn, by patterns of names; 1 is the dataset's."""
    vocals_high_pass: Annotated[float, Field(ge=0)] = 0.0
    """Hertz below which what is with the voices that train, such as rumble, is taken away; 0 for nothing."""
    description: str = "not described"
    """What the bundle says that it was trained on."""
    licence: str = "not stated"
    """Of the bundle's weights."""

    @model_validator(mode="after")
    def _passes_something(self) -> "DataConfig":
        if self.vocals_high_pass >= self.sample_rate / 2:
            raise ValueError(
                f"vocals_high_pass={self.vocals_high_pass} must lie below half of "
                f"sample_rate={self.sample_rate}"
            )
        return self


class Config(_Table):
    """One experiment."""

    name: str = "drnn"
    summary: str = "a network trained with Duetto"
    use: str = "not said"
    """What the model is for, for its card."""
    failures: str = "not known"
    """What it is known to do badly, for its card."""
    n_passes: Annotated[int, Field(ge=1, le=MAX_PASSES)] = 1
    """How often its bundle hears a song, each time at another speed, unless told otherwise."""
    data: DataConfig = DataConfig()
    stft: STFTConfig = STFTConfig()
    network: NetworkConfig = DRNNConfig()
    loss: LossConfig = LossConfig()
    mixing: MixingConfig = MixingConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        network, n_bins = self.network, self.stft.n_fft // 2
        if isinstance(network, UNetConfig) and n_bins % (network.n_sub_bands << network.n_levels):
            raise ValueError(
                f"stft.n_fft={self.stft.n_fft}: half of it must be a multiple of network.n_sub_bands="
                f"{network.n_sub_bands} times 2 to the power of network.n_levels={network.n_levels}"
            )
        if (self.loss.kind in ("l1", "sdr")) != (network.input == "spectrogram"):
            raise ValueError(f'loss.kind="{self.loss.kind}" is not for network.kind="{network.kind}"')
        scene, rate = self.mixing.scene, self.data.sample_rate
        if scene and scene.coding and rate not in CODED_RATES:
            raise ValueError(
                f"mixing.scene.coding={scene.coding} is not for data.sample_rate={rate}: Opus has "
                f"{', '.join(map(str, CODED_RATES))}; set mixing.scene.coding=0"
            )
        return self

    @model_validator(mode="after")
    def _discriminates_between_two(self) -> "Config":
        if getattr(self.network, "n_outputs", 2) == 1 and self.loss.discrimination:
            raise ValueError("network.n_outputs=1 needs loss.discrimination=0: there is no other estimate")
        return self
