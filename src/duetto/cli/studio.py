"""The command studio: a page in the browser."""

import os
import secrets
import webbrowser
from pathlib import Path

import click

from duetto.cli.console import PATH, complain


def _default_data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "duetto" / "studio"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8017, show_default=True, help="TCP port; 0: any."
)
@click.option(
    "--token",
    envvar="DUETTO_STUDIO_TOKEN",
    help="What clients have to present. Drawn at random where other machines can reach the address.",
)
@click.option(
    "--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="A further name of this studio."
)
@click.option(
    "-n", "--model", "models", multiple=True, metavar="MODEL",
    help="Offer these models (names or .onnx files), the first by default.  [default: all that ship]",
)  # fmt: skip
@click.option(
    "--data", type=PATH, help="Folder for songs and stems.  [default: ~/.local/share/duetto/studio]"
)
@click.option(
    "-j", "--jobs", "n_workers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Songs separated at a time.",
)  # fmt: skip
@click.option(
    "--max-jobs", type=click.IntRange(min=1), default=64, show_default=True, help="Length of the queue."
)
@click.option(
    "--max-upload", "max_upload_mib", type=click.IntRange(min=1), default=512, show_default=True,
    metavar="MIB", help="Largest file.",
)  # fmt: skip
@click.option(
    "--max-minutes", type=click.FloatRange(min=0, min_open=True), default=60, show_default=True,
    help="Longest song.",
)  # fmt: skip
@click.option(
    "--keep-days", type=click.FloatRange(min=0, min_open=True), default=30, show_default=True,
    help="Delete songs after so long.",
)  # fmt: skip
@click.option(
    "--keep-gb", type=click.FloatRange(min=0, min_open=True), default=20, show_default=True,
    help="Delete the oldest songs when all hold more.",
)  # fmt: skip
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.  [default: open]")
def studio(
    data: Path | None,
    token: str | None,
    max_upload_mib: int,
    max_minutes: float,
    keep_gb: float,
    browser: bool,
    **settings: object,
) -> None:
    """Open a page in the browser that separates songs and plays their stems.

    Songs are worked on by this machine and kept in the folder --data; nothing is sent anywhere. Ctrl-C ends
    the studio. An address other than 127.0.0.1 demands a token, which is printed.
    """
    from duetto.studio.server import serve
    from duetto.studio.settings import StudioSettings

    host = str(settings["host"])
    folder = data or _default_data()
    if token is None and not StudioSettings.is_loopback(host):
        token = secrets.token_urlsafe(24)
    chosen = StudioSettings(
        data=folder,
        token=token,
        max_upload_bytes=max_upload_mib * 2**20,
        max_seconds=60 * max_minutes,
        keep_bytes=round(keep_gb * 1e9),
        **settings,  # type: ignore[arg-type]
    )

    def ready(address: str) -> None:
        click.echo(f"The studio is open at {address}")
        complain(f"songs and stems are kept in {folder}; Ctrl-C ends the studio")
        if browser:
            webbrowser.open(address)

    serve(chosen, on_ready=ready)
