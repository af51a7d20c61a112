"""Names that the service answers to, and web pages that may use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from musicgen_service.serving.hosts import Hosts
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_routes import raw
from tests.support.fake_cog import FakeCog, fake_cog

LOCAL = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "musicgen.localhost",
    "127.0.0.1",
    "127.8.8.8",
    "[::1]",
    "[::ffff:127.0.0.1]",
]
OTHER = [
    *("evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "10.0.0.1", "[fd00::1]", "0.0.0.0", "xlocalhost"),
    *("", "localhost@evil.test", "localhost:1:2", "[::1", "[localhost]x", "2130706433", "evil.test#localhost"),
]


@contextmanager
def serving(**options: Any) -> Iterator[httpx.Client]:
    """A client of a gateway that goes by the names of the loopback interface, unless the options say otherwise."""
    options = {"hosts": ()} | options
    with (
        fake_cog() as cog,
        running(gateway_of(lambda: cog.server_port, **options)) as gateway,
        client_of(gateway) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def local() -> Iterator[httpx.Client]:
    with serving() as client:
        yield client


@pytest.mark.parametrize("port", ["", ":5000"])
@pytest.mark.parametrize("name", LOCAL)
def test_on_the_loopback_interface_it_goes_by_loopback_names(local: httpx.Client, name: str, port: str) -> None:
    assert local.get("/", headers={"Host": name + port}).status_code == 200


@pytest.mark.parametrize("port", ["", ":5000"])
@pytest.mark.parametrize("name", OTHER)
def test_a_name_that_leads_to_it_is_refused(local: httpx.Client, name: str, port: str) -> None:
    for method, path in (("GET", "/predictions"), ("GET", "/livez"), ("POST", "/predictions"), ("OPTIONS", "/")):
        reply = local.request(method, path, headers={"Host": name + port})
        assert reply.status_code == 421 and reply.json()["error"].startswith("The service does not go by the name '")


def test_browsers_alone_are_asked_for_a_name(local: httpx.Client) -> None:
    assert b" 200 " in raw(local, b"GET /livez HTTP/1.0\r\n\r\n")


def test_more_names_are_a_setting() -> None:
    with serving(hosts=("music.example.com",)) as client:
        statuses = [
            client.get("/", headers={"Host": host}).status_code
            for host in ("music.example.com", "MUSIC.example.com.:80", "localhost", "x.music.example.com", "10.0.0.1")
        ]
    assert statuses == [200, 200, 200, 421, 421]


@pytest.mark.parametrize(
    ("names", "host", "answers"),
    [
        ((), "anything.test", True),
        (("music.test",), "music.test", True),
        (("music.test",), "evil.test", False),
        (("music.test",), "localhost", True),
        (("music.test",), "10.0.0.1:5000", True),  # as a probe asks
        (("music.test",), "[fd00::1]:5000", True),
    ],
)
def test_elsewhere_it_goes_by_any_name_unless_they_are_set(names: tuple[str, ...], host: str, answers: bool) -> None:
    async def app(*_: Any) -> None:
        raise AssertionError

    assert Hosts(app, names, (), is_local=False)._answers_to(host) == answers


CHANGES = [("POST", "/predictions"), ("PUT", "/predictions/x"), ("POST", "/predictions/x/cancel"), ("POST", "/files")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1.evil.test"},
        {"Origin": "file://"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "SAME", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_other_pages_change_nothing(
    client: httpx.Client, cog: FakeCog, method: str, path: str, headers: dict[str, str]
) -> None:
    headers = {name: str(client.base_url) if value == "SAME" else value for name, value in headers.items()}
    reply = client.request(method, path, json={"input": {}}, headers=headers)
    assert reply.status_code == 403 and reply.json()["error"].startswith("Web pages of other origins may not use")
    assert cog.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "SAME"},
        {"Origin": "SAME", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://music.test", "Host": "music.test"},  # behind a proxy that speaks TLS
        {"Origin": "https://music.test", "Sec-Fetch-Site": "same-origin"},  # which says another name
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_its_own_page_may_use_it(client: httpx.Client, cog: FakeCog, headers: dict[str, str]) -> None:
    headers = {name: str(client.base_url) if value == "SAME" else value for name, value in headers.items()}
    assert client.post("/predictions", json={"input": {}}, headers=headers).status_code == 200


def test_what_a_page_reads_is_kept_from_it_by_the_browser(client: httpx.Client) -> None:
    reply = client.get("/predictions", headers={"Origin": "https://evil.test"})
    assert reply.status_code == 200 and "access-control-allow-origin" not in reply.headers


APP = "https://app.example.com"
PREFLIGHT = {
    "Origin": APP,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,prefer,traceparent,tracestate",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a gateway that another page may use, and that needs keys."""
    from musicgen_service.serving import api_keys

    file = tmp_path_factory.mktemp("keys") / "keys"
    key = api_keys.add(file, "ann")
    with serving(origins=(APP,), keys=api_keys.ApiKeys(file)) as client:
        client.headers["X-Key"] = key
        yield client


def test_a_preflight_needs_no_key(shared: httpx.Client) -> None:
    reply = shared.options("/predictions", headers=PREFLIGHT)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, APP)
    assert {"POST", "PUT"} <= set(reply.headers["access-control-allow-methods"].split(", "))
    assert {"Authorization", "Prefer"} <= set(reply.headers["access-control-allow-headers"].split(", "))
    assert "access-control-allow-credentials" not in reply.headers


def test_a_page_that_is_named_may_use_the_service(shared: httpx.Client) -> None:
    headers = {"Origin": APP, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {shared.headers['X-Key']}"}
    reply = shared.post("/predictions", json={"input": {}}, headers=headers)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, APP)
    assert {"Retry-After", "X-Audio-Seconds"} <= set(reply.headers["access-control-expose-headers"].split(", "))
    assert "origin" in reply.headers["vary"].lower()
    refused = shared.post("/predictions", json={"input": {}}, headers={"Origin": APP})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, APP)  # the page can read why


def test_other_pages_stay_out(shared: httpx.Client) -> None:
    for origin in ("https://evil.test", APP + ".evil.test", APP + ":8443", "http://app.example.com", "null"):
        preflight = shared.options("/predictions", headers=PREFLIGHT | {"Origin": origin})
        assert preflight.status_code == 400 and "access-control-allow-origin" not in preflight.headers
        headers = {"Origin": origin, "Authorization": f"Bearer {shared.headers['X-Key']}"}
        assert shared.post("/predictions", json={"input": {}}, headers=headers).status_code == 403


def test_all_pages_may_be_let_in() -> None:
    with serving(origins=("*",)) as client:
        reply = client.post("/predictions", json={"input": {}}, headers={"Origin": "https://any.test"})
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
