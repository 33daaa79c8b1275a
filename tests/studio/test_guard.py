"""Who may ask: hosts, origins, the token, and what every answer carries."""

import pytest

from helpers.studios import running, settings

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def client(folder):
    with running(settings(folder / "open"), separates=False) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(folder):
    with running(settings(folder / "guarded", host="0.0.0.0", token=TOKEN), separates=False) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1:8017", "localhost", "[::1]:80", "192.168.1.7"])
def test_addresses_and_names_of_this_machine_are_answered(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8017", "localhost.evil.example", "[", ""])
def test_a_name_that_was_bound_to_this_machine_is_refused(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 421
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1234"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_requests_of_other_origins_are_refused(client, headers):
    assert client.post("/api/jobs/example", headers=headers).status_code == 403
    assert client.get("/api/jobs", headers=headers).status_code == 403
    assert client.get("/main.js", headers=headers).status_code == 403


def test_a_link_from_elsewhere_opens_the_page(client):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/api/jobs", headers=headers).status_code == 403


def test_requests_of_the_page_are_answered(client):
    headers = {"origin": client.address, "sec-fetch-site": "same-origin"}
    assert client.get("/api/jobs", headers=headers).status_code == 200


@pytest.mark.slow
def test_without_the_token_nothing_is_told(guarded):
    for path in ("/api/health", "/api/jobs", "/api/openapi.json", "/main.js", "/api/jobs/0123456789abcdef"):
        assert guarded.get(path).status_code == 401
    assert guarded.post("/api/jobs", params={"name": "x"}, content=b"x").status_code == 401
    page = guarded.get("/")
    assert page.status_code == 401
    assert "token" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": "duetto-studio=wrong"},
        {"cookie": "duetto-studio=\xe9".encode("latin-1")},
    ],
)
def test_a_wrong_token_is_refused(guarded, headers):
    assert guarded.get("/api/health", headers=headers).status_code == 401
    assert guarded.get("/?token=wrong").status_code == 401


def test_the_token_opens_the_api(guarded):
    assert guarded.get("/api/health", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_address_with_the_token_sets_a_cookie_that_opens_the_page(guarded):
    response = guarded.get(f"/?token={TOKEN}")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    opened = guarded.get("/", headers={"cookie": f"duetto-studio={TOKEN}"})
    guarded.cookies.clear()
    assert opened.status_code == 200
    assert "Choose a song" in opened.text


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/health", "/api/jobs/nonsense", "/nothing"])
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["/../settings.py", "/%2e%2e/settings.py", "/..%2fserver.py", "//etc/passwd"]
)
def test_the_page_holds_nothing_but_its_files(client, path):
    assert client.get(path).status_code == 404
