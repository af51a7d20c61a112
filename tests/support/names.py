"""Names that resolve to chosen addresses."""

import socket
from typing import Any

import pytest


def named(monkeypatch: pytest.MonkeyPatch, **hosts: str) -> list[str]:
    """Names for addresses; every resolution of a name is recorded."""
    resolved: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> Any:
        resolved.append(host)
        return real(hosts.get(host, host), port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return resolved
