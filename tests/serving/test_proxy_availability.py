"""Responses of the proxy while Cog's server starts, fails, or stops."""

import http.client
import socket
import threading

import httpx
import pytest

from musicgen_service.serving import proxy
from musicgen_service.serving.proxy import Proxy
from tests.support.harness import wait_until
from tests.support.upstream import Upstream


def test_disconnect_cancels_the_request(served: Proxy, upstream: type[Upstream]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port)
    connection.request("POST", "/predictions", b'{"input": "slow"}')
    wait_until(lambda: bool(upstream.requests))
    assert served.waiting == 1
    connection.close()
    assert upstream.disconnected.wait(60)
    wait_until(lambda: served.waiting == 0)


def test_clients_beyond_the_limit_are_disconnected(upstream: type[Upstream], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "MAX_CLIENTS", 2)
    server = Proxy(("127.0.0.1", 0), lambda: None)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(3)]
        assert held[2].recv(1) == b""
        for connection in held:
            connection.close()

        def served_again() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{server.server_port}/health-check").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(served_again)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_missing_server_is_reported() -> None:
    server = Proxy(("127.0.0.1", 0), lambda: None)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            assert client.get("/health-check").json() == {"status": "STARTING"}
            reply = client.post("/predictions", json={})
            assert (reply.status_code, reply.json()["status"]) == (503, "failed")
            assert reply.headers["Retry-After"] == "5"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_server_crash_during_a_request_is_reported(connection: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broken:
        threading.Thread(target=lambda: broken.accept()[0].close(), daemon=True).start()
        server = Proxy(("127.0.0.1", 0), lambda: broken.getsockname()[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/predictions"
        try:
            reply = httpx.post(address, json={}, headers={"Connection": connection})
            assert reply.status_code == 502 and "broke down" in reply.json()["error"]
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def test_new_predictions_are_rejected_while_draining(
    client: httpx.Client, served: Proxy, upstream: type[Upstream]
) -> None:
    served.draining = True
    assert client.post("/predictions", json={}).status_code == 503
    assert client.get("/health-check").json() == {"status": "DRAINING"}
    assert client.post("/predictions/abc/cancel").status_code == 200
    assert [path for _, path, _ in upstream.requests] == ["/predictions/abc/cancel"]


def test_cancelled_prediction_is_reported(client: httpx.Client, served: Proxy, upstream: type[Upstream]) -> None:
    def give_up() -> None:
        wait_until(lambda: bool(upstream.requests))
        served.ended.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    reply = client.post("/predictions", json={"input": "slow"})
    thread.join()
    assert reply.status_code == 503 and "gave this prediction up" in reply.json()["error"]
    assert upstream.disconnected.wait(60)


def test_asynchronous_prediction_ids_are_recorded(client: httpx.Client, served: Proxy) -> None:
    client.post("/predictions", json={}, headers={"Prefer": "respond-async"})
    assert list(served.running) == ["given"]
