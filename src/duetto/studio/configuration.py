"""What a studio is told when it starts: address, limits, and how long songs are kept."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from duetto.errors import ConfigError

MAX_CHANNELS = 8  # a browser plays no more


@dataclass(frozen=True, kw_only=True)
class StudioSettings:
    """Settings of a studio.

    Attributes:
        data: folder for the songs, the stems and the list of jobs; it is made.
        host: address to listen on; any but a loopback address demands a token.
        port: TCP port; 0 takes a free one.
        token: what a client has to present; None lets everybody on this machine in.
        allowed_hosts: further names that the Host header may carry, such as that of a reverse proxy.
        models: names or paths of the models on offer, the default first; empty offers all that ship.
        n_workers: worker processes, each separating one song at a time.
        max_jobs: jobs that may wait or run at a time.
        max_upload_bytes: bytes of one uploaded file.
        max_seconds: length of a song, decoded.
        upload_timeout_seconds: an upload is refused when nothing of it arrives for so long.
        keep_days: finished jobs older than this are deleted.
        keep_bytes: the oldest finished jobs are deleted while all together hold more than this.

    Raises:
        ConfigError: a value out of its range, or an address beyond this machine without a token.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8017
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    n_workers: int = 1
    max_jobs: int = 64
    max_upload_bytes: int = 512 * 2**20
    max_seconds: float = 3600.0
    upload_timeout_seconds: float = 30.0
    keep_days: float = 30.0
    keep_bytes: int = 20 * 10**9

    def __post_init__(self) -> None:
        if not self.is_loopback(self.host) and not self.token:
            raise ConfigError(
                f"host={self.host!r} can be reached from other machines: give a token that clients have to "
                "present, or listen on 127.0.0.1"
            )
        if self.token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{16,256}", self.token):
            raise ConfigError("the token must have 16 to 256 letters, digits and characters of ._~-")
        for name in ("n_workers", "max_jobs", "max_upload_bytes", "max_seconds", "keep_days", "keep_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: choose more than 0")

        if len(self.named_models) < len(self.models):
            raise ConfigError(f"models={self.models!r}: two have the same name; rename a file")

    @property
    def named_models(self) -> dict[str, str]:
        """The models by the names that clients know: those of files have neither folder nor suffix."""
        return {Path(model).stem if model.endswith(".onnx") else model: model for model in self.models}

    @staticmethod
    def is_loopback(host: str) -> bool:
        """Whether only this machine can reach an address."""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
