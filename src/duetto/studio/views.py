"""What the HTTP API sends: the shapes that its OpenAPI document describes."""

from typing import Literal

from pydantic import BaseModel, Field

from duetto.studio.store import ScoringState, State

Stem = Literal["vocals", "accompaniment"]
Track = Literal["mixture", "vocals", "accompaniment"]
Format = Literal["wav", "flac", "mp3"]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok"]
    version: str
    n_queued: int
    n_running: int
    n_workers: int


class Limits(BaseModel):
    """What the service accepts, and how long it keeps what it made."""

    max_upload_bytes: int
    max_seconds: float
    max_jobs: int
    keep_days: float
    keep_bytes: int


class StemScores(BaseModel):
    """BSS Eval 3.0 of one stem in dB; null where a ratio is infinite."""

    sdr: float | None
    sir: float | None
    sar: float | None


class ModelCard(BaseModel):
    """What is known of a model."""

    key: str = Field(description="Name to create jobs with.")
    name: str
    summary: str
    licence: str = Field(description="Licence of the weights.")
    origin: str = Field(description="The training data of a network, or the paper of a method.")
    n_parameters: int
    n_bytes: int = Field(description="Size of the model file; 0 for a method.")
    sample_rate: int = Field(description="Hz")
    scores: dict[str, dict[str, float]] = Field(description="GNSDR, GSIR and GSAR of each stem in dB.")
    protocol: str = Field(description="How those scores were measured.")


class JobView(BaseModel):
    """A song that is, was, or is going to be separated."""

    id: str
    name: str
    model: str
    state: State
    created: float = Field(description="Seconds since 1970.")
    finished: float | None
    seconds: float | None = Field(description="How long the separation took.")
    error: str | None
    place: int | None = Field(
        description="Place in the queue, 1 being the next; null for jobs that do not wait."
    )
    progress: float | None = Field(description="From 0 to 1, while it runs.")
    seconds_left: float | None = Field(description="An estimate, while it runs.")
    duration_seconds: float
    sample_rate: int = Field(description="Hz")
    n_channels: int
    n_samples: int = Field(description="Per channel.")
    sha256: str = Field(description="Of the uploaded file; jobs of the same file can be compared.")
    n_clipped: int = Field(description="Samples of the stems that were saturated.")
    n_bytes: int = Field(description="Of the song and its stems on disk.")
    formats: list[Format] = Field(description="Formats in which the stems can be had.")
    scoring: ScoringState
    scores: dict[str, StemScores] | None
    scoring_error: str | None


class Picture(BaseModel):
    """Waveform and spectrogram of a track, in columns of equal duration."""

    sample_rate: int = Field(description="Hz")
    duration_seconds: float
    n_columns: int
    extremes: str = Field(
        description="Base64 of int8 (n_columns, 2): smallest and largest sample of a column, full scale 127."
    )
    n_bands: int
    lowest_hertz: float = Field(
        description="Lower edge of the lowest band; bands are of equal musical width."
    )
    highest_hertz: float
    floor_db: float
    ceiling_db: float
    levels: str = Field(
        description="Base64 of uint8 (n_bands, n_columns), the lowest band first: power from floor_db (0) to "
        "ceiling_db (255), 0 dB being a sine of full scale."
    )
