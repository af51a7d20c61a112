"""Listening to predictions while they are made."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from musicgen_service.audio import streamed
from tests.support.fake_audio import music
from tests.support.sounds import RATE

EVENTS = {"Accept": "text/event-stream"}
HALF = 44 + 2 * RATE
"""Bytes of the first second, and of the header before it."""
WHOLE = HALF + 2 * RATE


def wav(prompt: str = "music") -> bytes:
    """What is heard of a prompt."""
    half = music(prompt)
    encoder = streamed.encoder("wav", 2 * half.shape[1], RATE, 1)
    return encoder.encode(half) + encoder.encode(half)


@contextmanager
def heard(client: httpx.Client, prompt: str = "music", path: str = "/predictions/stream") -> Iterator[httpx.Response]:
    with client.stream("POST", path, json={"input": {"prompt": prompt}}) as reply:
        yield reply


@contextmanager
def joined(client: httpx.Client, name: str) -> Iterator[httpx.Response]:
    with client.stream("GET", f"/predictions/{name}/audio") as reply:
        yield reply


def events_of(reply: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    assert reply.headers["content-type"] == "text/event-stream"
    name = ""
    for line in reply.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        if field == "data":
            yield name, json.loads(value)


def take(parts: Iterator[bytes], size: int) -> bytes:
    """The first bytes of a reply, as soon as they are there."""
    received = b""
    while len(received) < size:
        received += next(parts)
    return received


@contextmanager
def client_of_same(client: httpx.Client) -> Iterator[httpx.Client]:
    """Another connection of the same client."""
    with httpx.Client(base_url=client.base_url, timeout=60) as other:
        yield other
