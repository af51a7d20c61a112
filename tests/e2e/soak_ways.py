"""The ways in which clients of the soak ask for a prediction, each of which must lead to the same result."""

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from tests.support.harness import TIMEOUT, Clip

ENDED = ("succeeded", "failed", "canceled")
BROKE_DOWN = "The service broke down in this request"
"""The beginning of what a client is told whose prediction was lost twice, or after its beginning was heard."""
_LOOK_SECONDS = 0.05
_HEARD = ("text", "melody", "continuation")
"""Tasks that are heard while they are made."""


@dataclass(frozen=True)
class Ask:
    """One prediction: its inputs, the way in which it is asked for, and the expected result."""

    inputs: dict[str, Any]
    expected: str
    """succeeded, invalid (422), failed, or canceled."""
    way: str = "wait"
    seconds: float | None = None
    channels: int | None = None


class BrokenError(Exception):
    """The service said that it broke down, or was not ready."""


def answer(address: httpx.URL, name: str, ask: Ask) -> tuple[str, str]:
    """Ask for a prediction; returns its status, and what is wrong with the reply, if anything is.

    Raises
    ------
    BrokenError
        When the service said that it broke down, or asked to come back later.
    """
    with httpx.Client(base_url=address, timeout=10 * TIMEOUT) as client:
        reply = _WAYS[ask.way](client, name, ask)
    status = str(reply["status"])
    if status == "failed" and str(reply.get("error")).startswith(BROKE_DOWN):
        raise BrokenError
    # Whoever hangs up may do so at the very end.
    if status != ask.expected and not (ask.way == "hang up" and status == "succeeded"):
        return status, f"{status} ({str(reply)[:200]}) in place of {ask.expected}"
    return status, _fault(reply, name, ask) if status == "succeeded" else ""


def is_possible(way: str, task: str) -> bool:
    """Whether a task can be asked for in a way."""
    return task in _HEARD or way not in ("stream", "events", "hang up")


def _wait(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    return _content(client.post("/predictions", json={"id": name, "input": ask.inputs}))


def _poll(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    body = {"id": name, "input": ask.inputs}
    reply = _content(client.post("/predictions", json=body, headers={"Prefer": "respond-async"}))
    return reply if reply["status"] == "invalid" else _ended(client, name)


def _upload(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Send the recording as a file of its own, which is deleted afterwards."""
    uri = ask.inputs.get("input_audio")
    if uri is None or not uri.startswith("data:"):
        return _wait(client, name, ask)
    content = base64.b64decode(uri.partition(",")[2])
    file = _content(client.post("/files", files={"content": ("song.wav", content, "audio/wav")}))
    inputs = ask.inputs | {"input_audio": file["urls"]["get"]}
    try:
        return _content(client.put(f"/predictions/{name}", json={"input": inputs}, headers={"Prefer": "output=url"}))
    finally:
        client.delete(f"/files/{file['id']}").raise_for_status()


def _hosted(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Ask as clients of the hosted platform do, for whom the service says the id."""
    address = "/v1/models/musicgen-service/musicgen/predictions"
    reply = _content(client.post(address, json={"input": ask.inputs}, headers={"Prefer": "wait=1"}))
    if reply["status"] == "invalid":
        return reply
    while reply["status"] not in ENDED:
        time.sleep(_LOOK_SECONDS)
        reply = _content(client.get(f"/v1/predictions/{reply['id']}"))
    return reply | {"id": name}


def _convert(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Read the beginning of each file, and all of it in another format."""
    body = {"id": name, "input": ask.inputs}
    reply = _content(client.post("/predictions", json=body, headers={"Prefer": "output=url"}))
    if reply["status"] != "succeeded":
        return reply
    wanted = "wav" if ask.inputs["output_format"] == "flac" else "flac"
    for number, address in enumerate(reply["output"]):
        part = client.get(address, headers={"Range": "bytes=0-99"})
        assert part.status_code == 206 and len(part.content) == 100, (part.status_code, len(part.content))
        while (converted := client.get(address, params={"format": wanted})).status_code == 429:
            # A client has a few of them at a time, and all of these clients are one.
            assert converted.headers.get("retry-after")
            time.sleep(_LOOK_SECONDS)
        content = base64.b64encode(converted.raise_for_status().content).decode()
        reply["output"][number] = f"data:{converted.headers['content-type']};base64,{content}"
    return reply


def _stream(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Listen while it is made, and look at the result."""
    size = 0
    with client.stream("POST", f"/predictions/{name}/stream", json={"input": ask.inputs}) as reply:
        _check(reply)
        with suppress(httpx.RemoteProtocolError):  # cut off, which the result explains
            size = sum(map(len, reply.iter_bytes()))
    result = _ended(client, name)
    if result["status"] == "succeeded" and not size:
        result["status"] = "heard nothing"
    return result


def _events(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Listen to events; the last one is the result."""
    last, heard = "", 0
    body, headers = {"input": ask.inputs}, {"Accept": "text/event-stream"}
    with client.stream("POST", f"/predictions/{name}/stream", json=body, headers=headers) as reply:
        _check(reply)
        for line in reply.iter_lines():
            heard += line == "event: audio"
            last = line if line.startswith("data: ") else last
    result: dict[str, Any] = json.loads(last.removeprefix("data: "))
    if result["status"] == "succeeded" and not heard:
        result["status"] = "heard nothing"
    return result


def _hang_up(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Hang up after the first piece of audio."""
    with client.stream("POST", f"/predictions/{name}/stream", json={"input": ask.inputs}) as reply:
        _check(reply)
        with suppress(httpx.RemoteProtocolError):
            next(reply.iter_bytes())
    return _ended(client, name)


def _cancel(client: httpx.Client, name: str, ask: Ask) -> dict[str, Any]:
    """Cancel it from another connection while the reply is awaited."""
    ended = threading.Event()

    def cancel() -> None:
        with httpx.Client(base_url=client.base_url, timeout=TIMEOUT) as other:
            # Not found until it has been taken up.
            while other.post(f"/predictions/{name}/cancel").status_code == 404 and not ended.is_set():
                time.sleep(_LOOK_SECONDS)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        return _wait(client, name, ask)
    finally:
        ended.set()
        thread.join()


_WAYS: dict[str, Callable[[httpx.Client, str, Ask], dict[str, Any]]] = {
    "wait": _wait,
    "poll": _poll,
    "upload": _upload,
    "hosted": _hosted,
    "convert": _convert,
    "stream": _stream,
    "events": _events,
    "hang up": _hang_up,
    "cancel": _cancel,
}
WAYS = tuple(way for way in _WAYS if way != "cancel")


def _check(reply: httpx.Response) -> None:
    """Raise when the service said that it broke down, with a time to come back where it is not ready."""
    if reply.status_code in (502, 503):
        reply.read()
        assert reply.status_code == 502 or reply.headers.get("retry-after"), reply.text
        raise BrokenError
    assert reply.status_code in (200, 201, 202, 422), (reply.status_code, reply.read()[:200])


def _content(reply: httpx.Response) -> dict[str, Any]:
    _check(reply)
    content: dict[str, Any] = reply.json()
    return content | {"status": "invalid"} if reply.status_code == 422 else content


def _ended(client: httpx.Client, name: str) -> dict[str, Any]:
    """The result of a prediction, once it has ended."""
    while (reply := _content(client.get(f"/predictions/{name}")))["status"] not in ENDED:
        time.sleep(_LOOK_SECONDS)
    return reply


def _fault(reply: dict[str, Any], name: str, ask: Ask) -> str:
    if ask.way == "hang up":
        return ""
    clips = [Clip.from_uri(uri) for uri in reply["output"]]
    if reply["id"] != name or reply["metrics"]["seed"] != ask.inputs["seed"] or len(clips) != ask.inputs["variations"]:
        return "a reply to something else"
    for clip in clips:
        if clip.channels != ask.channels or abs(len(clip.samples) / clip.rate - (ask.seconds or 0)) > 0.05:
            return f"{clip.channels} channels, {len(clip.samples) / clip.rate:.2f} s"
        if not np.isfinite(clip.samples).all():
            return "samples that are not numbers"
    return ""
