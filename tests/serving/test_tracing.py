"""Traces: what a client names is continued, and handed on to Cog's server, to webhooks and in the reply."""

import re
import time

import httpx
import pytest
from starlette.datastructures import Headers

from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.tracing import Trace
from tests.serving.test_webhooks import hook
from tests.support.fake_cog import FakeCog
from tests.support.harness import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
STATE = "congo=t61rcWkgMzE,fw529a3039@dt=FfAK"


def of(*headers: tuple[str, str]) -> Trace:
    return Trace.of(Headers(raw=[(name.encode(), value.encode()) for name, value in headers]))


def test_a_trace_is_continued() -> None:
    trace = of(("traceparent", PARENT), ("tracestate", STATE))
    assert (trace.trace_id, trace.is_sampled, trace.state) == (TRACE, True, STATE)
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span_id) and trace.span_id != SPAN
    assert trace.headers == {"traceparent": f"00-{TRACE}-{trace.span_id}-01", "tracestate": STATE}


def test_spaces_in_a_state_take_no_time() -> None:
    began = time.process_time()
    assert of(("traceparent", PARENT), ("tracestate", f"a=b,{' ' * 60_000}!")).state == ""
    assert time.process_time() - began < 1


def test_without_a_trace_one_begins() -> None:
    first, second = of(), of()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", first.headers["traceparent"])
    assert first.trace_id != second.trace_id and "tracestate" not in first.headers


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" {PARENT}",
        f"00-{TRACE}x{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01more",
    ],
)
def test_an_invalid_trace_is_not_continued(parent: str) -> None:
    trace = of(("traceparent", parent), ("tracestate", STATE))
    assert trace.trace_id != TRACE and not trace.is_sampled and not trace.state


def test_two_parents_are_none() -> None:
    assert of(("traceparent", PARENT), ("traceparent", PARENT)).trace_id != TRACE


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    trace = of(("traceparent", f"cc-{TRACE}-{SPAN}-03-what-comes-later"))
    assert trace.headers["traceparent"] == f"00-{TRACE}-{trace.span_id}-01"


@pytest.mark.parametrize("state", ["no member", "A=1", "a=1,b=ü", "a=\x7f", ",".join(["a=1"] * 33), f"a={'1' * 257}"])
def test_an_invalid_state_is_dropped(state: str) -> None:
    trace = of(("traceparent", PARENT), ("tracestate", state))
    assert (trace.trace_id, trace.state) == (TRACE, "")


def test_the_members_of_a_state_may_come_in_several_headers() -> None:
    assert of(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")).state == "a=1,b=2"


def test_every_reply_names_the_trace(client: httpx.Client) -> None:
    reply = client.get("/livez", headers={"traceparent": PARENT})
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", reply.headers["traceparent"])
    assert TRACE not in client.get("/nothing").headers["traceparent"]


def test_a_trace_goes_on_to_cog_and_to_webhooks(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with hook() as (address, received):
        body = {"input": {"prompt": "a"}, "webhook": address, "webhook_events_filter": ["completed"]}
        reply = client.post("/predictions", json=body, headers={"traceparent": PARENT, "tracestate": STATE})
        wait_until(lambda: not gateway.unfinished)
    ours = {"traceparent": reply.headers["traceparent"], "tracestate": STATE}
    assert ours["traceparent"].startswith(f"00-{TRACE}-") and SPAN not in ours["traceparent"]
    assert ours.items() <= cog.requests[0]["context"].items()
    assert ours.items() <= cog.headers[0].items()
    [(_, head)] = received.heads
    assert ours.items() <= {name.lower(): value for name, value in head.items()}.items()
