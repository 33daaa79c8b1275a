"""Who may ask: the Host and Origin of every request, the token, and the headers of every answer."""

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from duetto.studio.configuration import StudioSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

COOKIE = "duetto-studio"
_POLICY = "; ".join(
    [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
    ]
)  # fmt: skip
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""What every answer carries."""

_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Duetto studio</title>
<link rel="stylesheet" href="/style.css"><main class="login"><h1>Duetto studio</h1>
<p>Open the address that was printed when the studio started, or enter its token.</p>
<form action="/"><label>Token <input name="token" type="password" autofocus></label>
<button class="primary">Open</button></form></main></html>"""


class Guard:
    """ASGI middleware that lets a request pass or refuses it.

    - The Host header must be an IP address, a name of this machine or an allowed name: a page of a stranger
      whose name suddenly resolves to this machine (DNS rebinding) carries the stranger's name.
    - A request that another origin caused is refused, but for following a link to the page.
    - Where there is a token it must be presented: as a bearer token, as a cookie, or once in the address of
      the page, whose answer sets the cookie.

    Args:
        application: what is guarded.
        settings: host, token and allowed hosts.
    """

    def __init__(self, application: Application, settings: StudioSettings) -> None:
        self._application = application
        self._settings = settings
        self._names = {"localhost", settings.host.lower(), *map(str.lower, settings.allowed_hosts)}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                added = {key.encode(): value.encode() for key, value in HEADERS.items()}
                added.setdefault(b"cache-control", b"no-store")
                message["headers"] = [
                    *message["headers"], *(pair for pair in added.items() if pair[0] not in present)
                ]  # fmt: skip
            await send(message)

        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        answer = self._refuse(scope, headers)
        if answer is None:
            await self._application(scope, receive, guarded_send)
        else:
            await _respond(guarded_send, *answer)

    def _refuse(
        self, scope: MutableMapping[str, Any], headers: dict[str, str]
    ) -> tuple[int, dict[str, str], str] | None:
        host = headers.get("host", "")
        if not self._is_known(host):
            return _problem(421, f"this studio does not answer to the host {host!r}; see --allowed-host")
        is_page = scope["method"] in ("GET", "HEAD") and scope["path"] == "/"
        if not _is_same_origin(headers, host, is_page=is_page):
            return _problem(403, "requests from other origins are refused")
        if self._settings.token is None or scope["path"] == "/style.css":
            return None
        if is_page and (offered := parse_qs(scope["query_string"].decode("latin-1")).get("token")):
            if self._is_token(offered[0]):
                cookie = (
                    f"{COOKIE}={self._settings.token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
                )
                return 303, {"location": "/", "set-cookie": cookie}, ""
        elif self._is_token(_presented(headers)):
            return None
        if is_page:
            return 401, {"content-type": "text/html; charset=utf-8"}, _LOGIN
        return _problem(401, "present the token of this studio: Authorization: Bearer TOKEN")

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_token(self, offered: str) -> bool:
        return hmac.compare_digest(offered.encode(), (self._settings.token or "").encode())


def _is_same_origin(headers: dict[str, str], host: str, *, is_page: bool) -> bool:
    """Whether the page of this very host caused a request, or something that is no browser."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    site = headers.get("sec-fetch-site", "none")
    return site in ("same-origin", "none") or (is_page and headers.get("sec-fetch-mode") == "navigate")


def _presented(headers: dict[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _problem(status: int, detail: str) -> tuple[int, dict[str, str], str]:
    return status, {"content-type": "application/json"}, json.dumps({"detail": detail})


async def _respond(send: Send, status: int, headers: dict[str, str], body: str) -> None:
    encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    content = body.encode()
    encoded.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
