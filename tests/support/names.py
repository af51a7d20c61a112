"""Fake name resolution."""

import socket
from typing import Any

import pytest


def named(monkeypatch: pytest.MonkeyPatch, **hosts: str) -> list[str]:
    """Resolve names to given addresses; returns the list of names resolved."""
    resolved: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> Any:
        resolved.append(host)
        return real(hosts.get(host, host), port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return resolved
