"""What a manifest says of a song and its stems."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that was written.

    Attributes:
        path: below the output folder, with slashes.
        n_bytes: its size.
        fingerprint: its size and time of change; a store's own mark of a remote file.
        sha256: of its bytes.
        peak: largest absolute sample, full scale being 1.
    """

    path: str
    n_bytes: int
    fingerprint: str
    sha256: str
    peak: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of a song: a line of the manifest.

    Attributes:
        song: its absolute path, or its URL.
        status: "done", "failed", or "skipped" since an earlier batch had done it.
        error: why it failed.
        fingerprint: the song's, as `Output.fingerprint`.
        sha256: of the song's bytes.
        bundle: SHA-256 of the bundle's bytes; the name of a method that has none.
        parameters: all options that the stems depend on.
        outputs: stem -> file.
        audio_seconds: of the song that were separated.
        seconds: from opening the song to the last stem on disk.
        n_clipped: samples that did not fit the output's integers and were saturated.
        null_residual: largest |sum of the stems - mixture|, full scale being 1; None where not all stems
            were written.
        notes: what a user should hear of.
        version: of Duetto.
    """

    song: str
    status: Literal["done", "failed", "skipped"]
    error: str | None = None
    fingerprint: str = ""
    sha256: str = ""
    bundle: str = ""
    parameters: dict[str, Any]
    outputs: dict[str, Output]
    audio_seconds: float = 0.0
    seconds: float = 0.0
    n_clipped: int = 0
    null_residual: float | None = None
    notes: tuple[str, ...] = ()
    version: str = ""

    @property
    def lasting(self) -> "Record":
        """What a manifest says of it: one that was skipped is done."""
        return replace(self, status="done") if self.status == "skipped" else self

    def to_line(self) -> bytes:
        """JSON in ASCII, with a newline; names that are no Unicode survive."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Record | None":
        """The record in a line; None for half a line, or one of another version's making."""
        try:
            values = json.loads(line)
            outputs = {stem: Output(**output) for stem, output in values["outputs"].items()}
            return cls(**{**values, "outputs": outputs, "notes": tuple(values["notes"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
