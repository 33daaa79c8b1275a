"""The command `studio`."""

import os
from pathlib import Path

import click

from duetto.cli.console import complain
from duetto.cli.options import PATH, Command

POSITIVE = click.FloatRange(min=0, min_open=True)
COUNT = click.IntRange(min=1)


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8017, help="TCP port; 0 takes a free one.")
@click.option(
    "--token",
    envvar="DUETTO_STUDIO_TOKEN",
    show_default="none; random with a --host that other machines can reach",
    help="Password of every client, 16 characters or more; also read from DUETTO_STUDIO_TOKEN.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Further host name of the studio, such as that of a reverse proxy; may be given several times.",
)
@click.option(
    "-n",
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    show_default="all that `duetto models` lists",
    help="Model to choose from, a name or a model file (.onnx); may be given several times, and the first "
    "is the default.",
)
@click.option("--data", type=PATH, show_default="~/.local/share/duetto/studio", help="Folder of the songs.")
@click.option("-j", "--jobs", "n_workers", type=COUNT, default=1, help="Number of songs separated at a time.")
@click.option("--max-jobs", type=COUNT, default=64, help="Largest number of songs that wait or run.")
@click.option("--max-upload", "max_upload_mib", type=COUNT, default=512, help="Largest file in MiB.")
@click.option("--max-minutes", type=POSITIVE, default=60, help="Longest song in minutes.")
@click.option("--keep-days", type=POSITIVE, default=30, help="Days after which songs are deleted.")
@click.option("--keep-gb", type=POSITIVE, default=20, help="Gigabytes above which old songs are deleted.")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
def studio(
    data: Path | None,
    token: str | None,
    max_upload_mib: int,
    max_minutes: float,
    keep_gb: float,
    browser: bool,
    **settings: object,
) -> None:
    """Separate songs on a page in the browser.

    The page plays both stems in sync. Songs are separated on this machine and kept in the folder --data;
    nothing is sent anywhere. Ctrl-C stops the studio. An address other than 127.0.0.1 needs a token, which
    is printed with the address of the page.
    """
    import secrets  # here, since these modules would slow the start of every command
    import webbrowser

    from duetto.studio.configuration import StudioSettings
    from duetto.studio.server import serve

    data = data or _default_data()
    if token is None and not StudioSettings.is_loopback(str(settings["host"])):
        token = secrets.token_urlsafe(24)
    chosen = StudioSettings(
        data=data,
        token=token,
        max_upload_bytes=max_upload_mib * 2**20,
        max_seconds=60 * max_minutes,
        keep_bytes=round(keep_gb * 1e9),
        **settings,  # type: ignore[arg-type]
    )

    def ready(address: str) -> None:
        click.echo(f"The studio is at {address}")
        complain(f"songs and stems are kept in {data}; Ctrl-C stops the studio")
        if browser:
            webbrowser.open(address)

    serve(chosen, on_ready=ready)


def _default_data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "duetto" / "studio"
