"""Who a client is."""

import socket

import pytest

from musicgen_service.serving import clients
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.gateway_options import GatewayOptions
from tests.serving.conftest import MODELS, running
from tests.support.harness import wait_until


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_is_one_client(host: str, client: str) -> None:
    assert clients.address(host) == client


def test_connections_of_a_network_count_together() -> None:
    options = GatewayOptions(MODELS, access_log=False)
    with (
        running(Gateway(("::1", 0), lambda: None, lambda: None, options)) as gateway,
        socket.create_connection(gateway.address),
    ):
        wait_until(lambda: gateway.limits.open["::/64"] == 1)
