"""Replies with files in them count as held until they have been read."""

import asyncio
from typing import Any

import pytest

from musicgen_service.serving.bodies import BodyMemory, Limits
from musicgen_service.serving.held_reply import HeldReply
from musicgen_service.serving.refusals import Refusal

CONTENT = {"output": "A" * 100_000}


async def sent(reply: HeldReply, memory: BodyMemory) -> tuple[list[dict[str, Any]], list[int]]:
    """What is sent of a reply, and how much is held at each part."""
    parts: list[dict[str, Any]] = []
    held: list[int] = []

    async def send(part: Any) -> None:
        parts.append(part)
        held.append(memory.held)

    await reply({"type": "http"}, None, send)  # type: ignore[arg-type]
    return parts, held


def test_it_is_held_until_the_server_takes_its_end() -> None:
    memory = BodyMemory()
    reply = HeldReply(200, CONTENT, memory, "a")
    [head, body, end], held = asyncio.run(sent(reply, memory))
    assert (head["status"], body["body"], end["body"]) == (200, reply.body, b"")
    assert (b"content-length", str(len(reply.body)).encode()) in head["headers"]
    assert body["more_body"] and not end.get("more_body")
    assert held == [len(reply.body)] * 3 and memory.held == 0


def test_a_client_that_holds_too_much_is_refused() -> None:
    memory = BodyMemory(Limits(size=100_000))
    memory.hold("a", 290_000)
    with pytest.raises(Refusal, match="too many large requests"):
        asyncio.run(sent(HeldReply(200, CONTENT, memory, "a", is_refusable=True), memory))
    assert memory.held == 290_000
    asyncio.run(sent(HeldReply(200, CONTENT, memory, "a"), memory))  # what was made for it alone
    assert memory.held == 290_000
