"""A browser must not carry other sites' requests to a hub of this machine, over HTTP or WebSocket."""

import json
import socket
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from hub.origin import host_allowed, origin_allowed

READS = ["/", "/docs", "/healthz", "/metrics", "/openapi.json", "/api/v1/state", "/api/v1/alerts"]
OWN = ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"]
STRANGE_HOSTS = [
    "rebound.example", "127.0.0.1.rebound.example", "rebound.example#127.0.0.1", "127.0.0.1@rebound.example",
    "10.0.0.1", "0.0.0.0", "[::2]", "[::1", "]", "[", "", " ", "a:b:c", "127.0.0.1\\rebound.example",
]  # fmt: skip
STRANGE_ORIGINS = [
    "https://elsewhere.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:1", "file://", "http://[",
    "http://127.0.0.1:{port}.rebound.example", "http://rebound.example#127.0.0.1:{port}",
    "http://127.0.0.1:{port}@rebound.example",
]  # fmt: skip


@pytest.mark.parametrize("host", STRANGE_HOSTS)
@pytest.mark.parametrize("port", ["", ":8000"])
def test_a_host_that_is_not_this_machine_is_not_allowed(host: str, port: str) -> None:
    assert not host_allowed(host + port)
    assert not host_allowed(None)


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_an_origin_that_is_not_our_own_page_is_not_allowed(origin: str) -> None:
    assert not origin_allowed(origin.format(port=8000), "127.0.0.1:8000")


@pytest.mark.parametrize("host", OWN)
def test_every_name_of_this_machine_is_served(hub: Any, host: str) -> None:
    port = hub.client.base_url.port
    assert hub.client.get("/healthz", headers={"Host": f"{host}:{port}"}).status_code == 200


@pytest.mark.parametrize("path", READS)
def test_a_name_that_merely_points_here_may_not_even_read(hub: Any, path: str) -> None:
    answer = hub.client.get(path, headers={"Host": "rebound.example:8000"})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["[::1", "[", "a:b:c", "127.0.0.1@rebound.example"])
def test_a_broken_host_is_refused_and_no_fault_of_the_server(hub: Any, host: str) -> None:
    assert hub.client.get("/healthz", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_a_page_of_another_site_may_change_nothing(hub: Any, origin: str) -> None:
    headers = {"Origin": origin.format(port=hub.client.base_url.port)}
    hub.alert_id = getattr(hub, "alert_id", None) or hub.alert()["id"]
    for path in (f"/api/v1/alerts/{hub.alert_id}/acknowledge", "/api/v1/scenarios"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = hub.client.request(method, path, json={}, headers=headers)
            assert answer.status_code == 403
    assert hub.get(f"alerts/{hub.alert_id}")["handling"] == "new"
    assert hub.get("runs")["runs"] == []


def test_our_own_page_and_a_program_may(hub: Any) -> None:
    for headers in ({"Origin": f"http://{hub.address}"}, {}):
        path = f"/api/v1/alerts/{hub.alert()['id']}/acknowledge"
        assert hub.client.post(path, json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/api/v1/state", "/api/v1/links/none", "/nothing"])
def test_every_answer_forbids_embedding_and_guessing_of_types(hub: Any, path: str) -> None:
    headers = hub.client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


def refused(hub: Any, **headers: str) -> bool:
    """Tell whether a WebSocket with these headers hears nothing."""
    port = hub.client.base_url.port
    # The address is connected to, the Host header says what a browser would after its name was rebound.
    uri = f"ws://{headers.pop('host', f'127.0.0.1:{port}')}/api/v1/live"
    try:
        with (
            socket.create_connection(("127.0.0.1", port)) as sock,
            connect(uri, sock=sock, additional_headers=headers, proxy=None) as listener,
        ):
            return json.loads(listener.recv(timeout=10.0))["type"] != "hello"
    except (InvalidStatus, ConnectionClosed):
        return True


@pytest.mark.parametrize("origin", [origin for origin in STRANGE_ORIGINS if origin])
def test_a_page_of_another_site_may_not_listen(hub: Any, origin: str) -> None:
    assert refused(hub, Origin=origin.format(port=hub.client.base_url.port))


def test_a_rebound_name_may_not_listen_though_its_origin_equals_its_host(hub: Any) -> None:
    port = hub.client.base_url.port
    assert refused(hub, host=f"rebound.example:{port}", Origin=f"http://rebound.example:{port}")


def test_our_own_page_may_listen(hub: Any) -> None:
    assert not refused(hub, Origin=f"http://{hub.address}")
    assert not refused(hub)
