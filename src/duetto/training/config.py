"""Every setting of training with its default, as pydantic tables; `config_io` reads their values."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from duetto.dsp.stft import STFT
from duetto.models.metadata import MAX_PASSES, Input

Positive = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class STFTConfig(_Table):
    """The STFT; the defaults are those of the papers."""

    n_fft: Positive = 1024
    hop_length: Positive = 512
    window: Literal["sine", "hann"] = "sine"

    @model_validator(mode="after")
    def _can_be_built(self) -> "STFTConfig":
        self.build(centred=False)
        return self

    def build(self, *, centred: bool) -> STFT:
        """Build the transform."""
        return STFT(n_fft=self.n_fft, hop_length=self.hop_length, window=self.window, centred=centred)


class DRNNConfig(_Table):
    """The deep recurrent network of Huang et al. 2014; without recurrent layers it is their DNN."""

    input: ClassVar[Input] = "magnitude"
    n_channels: ClassVar[int] = 1
    frame_grid: ClassVar[int] = 1
    stream_frames: ClassVar[int] = 1

    kind: Literal["drnn"] = "drnn"
    context: Literal[1, 3, 5] = 3
    n_layers: Positive = 3
    hidden_size: Positive = 1000
    recurrent_layers: tuple[Positive, ...] = (2,)
    n_outputs: Literal[1, 2] = 2
    """Number of estimated sources; with 1 it is the vocals, and the accompaniment is the residual."""
    joint_mask: Literal["absolute", "squared", "linear", "none"] = "absolute"
    bias: bool = True

    @model_validator(mode="after")
    def _layers_exist(self) -> "DRNNConfig":
        if any(layer > self.n_layers for layer in self.recurrent_layers):
            raise ValueError(f"recurrent_layers must lie in 1 to n_layers={self.n_layers}")
        if self.n_outputs == 1 and self.joint_mask != "none":
            raise ValueError('n_outputs=1 needs joint_mask="none": a joint mask needs two sources')
        return self

    @property
    def look_ahead(self) -> int:
        """Look-ahead: later frames that a mask depends on."""
        return self.context // 2


class VPNNConfig(_Table):
    """The vector product network of Fan et al. 2017: every unit and weight is a vector of three numbers."""

    input: ClassVar[Input] = "magnitude"
    n_channels: ClassVar[int] = 1
    frame_grid: ClassVar[int] = 1
    stream_frames: ClassVar[int] = 1

    kind: Literal["vpnn"] = "vpnn"
    vectors: Literal["window", "colour"] = "window"
    """How a bin becomes a vector: its magnitude in three frames (WVPNN), or a spectral colour (CVPNN)."""
    n_layers: Positive = 3
    hidden_size: Positive = 512
    activation: Literal["sigmoid", "tanh", "relu"] = "relu"
    brightest: Annotated[float, Field(gt=0)] = 326.0
    """Magnitude that is mapped to the brightest colour, by default that of a full-scale sine."""

    @property
    def look_ahead(self) -> int:
        """Look-ahead: later frames that a mask depends on."""
        return 1 if self.vectors == "window" else 0


class UNetConfig(_Table):
    """A convolutional U-Net from complex spectrograms to complex masks."""

    input: ClassVar[Input] = "spectrogram"
    stream_frames: ClassVar[int] = 0

    kind: Literal["unet"] = "unet"
    n_channels: Literal[1, 2] = 1
    """Input channels: 1 is the mid channel, 2 is mid and side."""
    cross_masks: bool = False
    """Of two channels, also mask the side for the vocals' mid, and the mid for their side."""
    n_sub_bands: Positive = 10
    """Number of equal sub-bands of the spectrum that are stacked as channels."""
    width: Positive = 32
    """Channels of the first level."""
    growth: Annotated[int, Field(ge=0)] = 32
    """Channels added on each further level, which has half as many frames and frequencies."""
    n_levels: Positive = 4
    n_blocks: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    """Residual blocks of two convolutions in the encoder and in the decoder, for each level from the first;
    the last number also holds for all levels after it."""
    frequency_bottleneck: Positive = 8
    """Factor of the bottleneck of the layers along frequency, which keeps `least_frequencies` at least."""
    least_frequencies: Positive = 8

    @model_validator(mode="after")
    def _check_channels(self) -> "UNetConfig":
        if self.cross_masks and self.n_channels == 1:
            raise ValueError("cross_masks need n_channels=2")
        return self

    @property
    def frame_grid(self) -> int:
        """Frames of the input for one frame of the last level."""
        return int(2**self.n_levels)

    @property
    def reaches(self) -> list[int]:
        """Receptive field of the convolutions of each level, in frames to either side."""
        return [2 * self.n_blocks[min(level, len(self.n_blocks) - 1)] for level in range(self.n_levels + 1)]

    @property
    def look_ahead(self) -> int:
        """Look-ahead: later frames that a mask depends on, rounded up for stateful inference in chunks."""
        n_frames = many = self.frame_grid * sum(self.reaches)
        n_frames -= 1
        for reach in self.reaches[:-1]:
            n_frames = (n_frames - reach) // 2
        n_frames -= self.reaches[-1]
        for reach in reversed(self.reaches[:-1]):
            n_frames = 2 * n_frames - reach
        return many - n_frames


OPUS_SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)
"""Sample rates that Opus supports, in hertz."""

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
    """The loss; `discrimination` is gamma in the papers."""

    kind: Literal["mse", "kl", "l1", "sdr"] = "mse"
    """A loss of magnitudes ("mse", "kl"), or of complex spectrograms and waveforms ("l1", "sdr")."""
    discrimination: Annotated[float, Field(ge=0, lt=1)] = 0.05
    spectrogram: Annotated[float, Field(ge=0)] = 0.3
    """Weight of the spectrogram's loss; that of the waveform has weight 1 ("l1" and "sdr" only)."""
    floor_db: Annotated[float, Field(le=0)] = -30.0
    """"sdr": energy of the error relative to the mixture below which the loss levels off."""
    missed: Annotated[float, Field(ge=0)] = 0.0
    """"sdr": additional weight of errors of the spectrogram where the estimate is quieter than the vocals."""


class SceneConfig(_Table):
    """Data augmentation of stereo scenes: the probability of each effect, by default none."""

    formant_shift: Probability = 0.0
    """Shift the formants of the vocals and keep their pitch."""
    vibrato: Probability = 0.0
    pitch_correction: Probability = 0.0
    """Correct the pitch of the vocals to the nearest semitone."""
    slow: Probability = 0.0
    """Sing 1.3 to 2.5 times as slowly and up to eight semitones higher: long notes and high ones."""
    harsh: Probability = 0.0
    """Make shouts, growls and screams of the vocals (`harsh.roughen`)."""
    bright: Probability = 0.0
    """Raise the treble of the vocals."""
    resonance: Probability = 0.0
    """Raise a narrow band of the vocals between 600 and 1800 Hz, as in belted notes."""
    backing_vocals: Probability = 0.0
    """Add vocals of another recording."""
    harmony: Probability = 0.0
    """Add the same vocals transposed by a third, a fourth, a fifth or an octave."""
    further_harmonies: Annotated[int, Field(ge=0)] = 0
    """Largest number of further such parts where there is one."""
    held_note: Probability = 0.0
    """Add a note of the vocals that is held for seconds while they go on."""
    double_tracking: Probability = 0.0
    double_tracking_apart: Probability = 0.0
    """Pan two takes of the vocals hard left and right, with little in the middle."""
    other_tracks: Probability = 0.0
    """Replace some tracks of a multitrack song with tracks of another song."""
    echo: Probability = 0.0
    reverberation: Probability = 0.0
    """Of the vocals; a third as often of the accompaniment."""
    equalise: Probability = 0.0
    compress: Probability = 0.0
    """Compress the vocals."""
    distort: Probability = 0.0
    """Distort the accompaniment; half as often the vocals."""
    pause: Probability = 0.0
    """Silence a passage of the vocals; half as often of the accompaniment."""
    widen: Probability = 0.0
    """Widen mono accompaniment to stereo; a fifth as often the vocals."""
    rhythm: Probability = 0.0
    """Add synthesised drums, bass and guitar (`synthesis.rhythm`) to the accompaniment."""
    lead: Probability = 0.0
    """Add a synthesised melody (`synthesis.lead`) to the accompaniment."""
    master: Probability = 0.0
    """Compress and limit the mixture."""
    mono: Probability = 0.0
    """Make both channels alike."""
    lossy_coding: Probability = 0.0
    """Code the mixture lossily; the coding error counts as accompaniment."""


class MixingConfig(_Table):
    """How training mixtures are made of recordings."""

    n_frames: Positive = 100
    """Length of an excerpt in frames."""
    circular_shift: bool = True
    """Rotate the vocals against the accompaniment by a random time; else both stay in time and key."""
    remix: Probability = 0.0
    """Probability that the accompaniment is of another recording than the vocals."""
    gain_db: Annotated[float, Field(ge=0)] = 0.0
    """Largest random gain of the mixture, up or down."""
    pitch_semitones: Annotated[float, Field(ge=0)] = 0.0
    """Largest change of pitch and tempo together (resampling), up or down, drawn for each source
    but for the vocals and the accompaniment of one song without circular shift."""
    balance_db: Annotated[float, Field(ge=0)] = 0.0
    """Largest random gain of the vocals against the accompaniment, up or down."""
    balance_centre_db: float = 0.0
    """Mean level of the vocals relative to the accompaniment."""
    second_music: Probability = 0.0
    """Probability of a second accompaniment, 0 to 10 dB below the first."""
    no_vocals: Probability = 0.0
    no_accompaniment: Probability = 0.0
    equal_level: bool = False
    """Normalise both sources to the same level before `balance_db`; L-BFGS normalises whole tracks."""
    scene: SceneConfig | None = None
    """Stereo scenes, with data augmentation or, with an empty table, without; None mixes in mono."""


class OptimiserConfig(_Table):
    """AdamW or Muon on random mixtures, or L-BFGS on the whole training set in every step."""

    kind: Literal["adamw", "lbfgs", "muon"] = "adamw"
    """"muon" takes the weight matrices of the hidden layers, and AdamW all other weights."""
    batch_size: Positive = 32
    """Excerpts in a step, over all devices; for L-BFGS the excerpts that are in memory at a time."""
    muon_learning_rate: Annotated[float, Field(gt=0)] = 0.02
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average of the weights, which is then scored and saved; 0 for none."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak of AdamW's learning rate: a linear warm-up, then a cosine to 1 % at the last step."""
    warm_up_steps: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip_norm: Annotated[float, Field(gt=0)] = 1e9
    iterations: Positive = 20
    """L-BFGS: iterations in a step."""
    corrections: Positive = 50
    """L-BFGS: history size."""
    shift_samples: Annotated[int, Field(ge=0)] = 0
    """L-BFGS: add copies of each track with its vocals rotated by each multiple of this number of samples."""


class RunConfig(_Table):
    """Length, validation and checkpoints of a run."""

    seed: int = 0
    n_steps: Positive = 2000
    evaluate_every: Positive = 100
    """Steps between evaluations on the validation set; each writes a checkpoint and histograms."""
    patience: Positive = 1000
    """Early stopping: the number of evaluations without a better validation GNSDR."""
    checkpoint_selection: Literal["best", "last"] = "best"
    """The weights that become best.safetensors: those with the best validation GNSDR, or those of the last
    evaluation, for a validation set that is unlike the songs the model is for."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """"bf16-mixed" is faster on GPUs and on CPUs with AMX, twice as fast on AMD CPUs with AVX-512 BF16, and
    slower on other CPUs; `benchmarks/training.py` tells."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """A checkpoint is saved after so many minutes, as well as at every evaluation."""
    n_workers: Annotated[int, Field(ge=0)] = 0
    """Worker processes that mix batches ahead for each training process; 0 mixes in the training process."""
    init_from: str = ""
    """Initial weights: best.safetensors of another run, or the model file of a U-Net, by name or path."""
    n_logged_tracks: Annotated[int, Field(ge=0)] = 2
    """Validation tracks whose audio and spectrograms are logged to TensorBoard."""


class DataConfig(_Table):
    """Training and validation data; the root folder is given on the command line."""

    dataset: str = "mir1k"
    """Of `songs`, training mixes the tracks anew; other datasets train in mono."""
    train_split: str = "train"
    validation_split: str = "dev"
    """Split that is the validation set; "" if the dataset has none, see the settings `held_out_...`."""
    sample_rate: Positive = 16000
    held_out_songs: tuple[str, ...] = ()
    """Songs of the training split that belong to the validation set instead."""
    n_held_out_songs: Annotated[int, Field(ge=0)] = 0
    """Number of songs of the training split, the last by name, that belong to the validation set instead."""
    held_out_singers: tuple[str, ...] = ()
    """Singers of the training split whose tracks belong to the validation set instead."""
    folder: str = "."
    """Folder of the dataset below the root folder."""
    solo_vocals: tuple[str, ...] = ()
    """Folders below the root folder with recordings of vocals alone."""
    solo_accompaniment: tuple[str, ...] = ()
    """Folders below the root folder with recordings of music without vocals."""
    multitracks: tuple[str, ...] = ()
    """Folders below the root folder with a folder of each multitrack song, in which the names of sung tracks
    begin with `vocals`."""
    bandwidths: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Bandwidth in hertz of solo vocals, by name pattern; their mixtures are low-pass filtered alike."""
    store: str = ""
    """Folder below the root folder for 16-bit copies of the recordings at `sample_rate`, of which training
    reads only what it draws; delete it if recordings change. "" keeps all recordings in memory."""
    held_out_recordings: tuple[str, ...] = ()
    """Name patterns of solo recordings of which mixtures for the validation set are made instead."""
    sampling_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Sampling weight of each second of solo recordings and of multitrack songs (`multitrack-SONG`), by name
    pattern (the first that fits); else 1."""
    vocals_high_pass: Annotated[float, Field(ge=0)] = 0.0
    """Cut-off in hertz of a high-pass filter that removes rumble from the training vocals; 0 for none."""
    description: str = "not described"
    """Training data, as the metadata of the model state it."""
    licence: str = "not stated"
    """Licence of the weights, as the metadata of the model state it."""

    @model_validator(mode="after")
    def _cut_off_is_below_nyquist(self) -> "DataConfig":
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
    """Intended use, for the model card."""
    failures: str = "not known"
    """Known failures, for the model card."""
    n_passes: Annotated[int, Field(ge=1, le=MAX_PASSES)] = 1
    """Default number of passes of test-time augmentation, each at another speed."""
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
        if scene and scene.lossy_coding and rate not in OPUS_SAMPLE_RATES:
            raise ValueError(
                f"mixing.scene.lossy_coding={scene.lossy_coding} is not for data.sample_rate={rate}: Opus "
                f"supports {', '.join(map(str, OPUS_SAMPLE_RATES))}; set mixing.scene.lossy_coding=0"
            )
        return self

    @model_validator(mode="after")
    def _discriminates_between_two(self) -> "Config":
        if getattr(self.network, "n_outputs", 2) == 1 and self.loss.discrimination:
            raise ValueError("network.n_outputs=1 needs loss.discrimination=0: there is no other estimate")
        return self
