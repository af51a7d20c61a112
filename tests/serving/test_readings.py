"""What is understood of the sections of a piece, while somebody writes them."""

from typing import Any

import httpx
import pytest


def read(client: httpx.Client, body: Any) -> tuple[int, dict[str, Any]]:
    reply = client.post("/sections", json=body)
    return reply.status_code, reply.json()


def test_sections_are_read_without_a_prediction(client: httpx.Client) -> None:
    text = "intro 8 s: soft piano; verse 4 bars: drums / not: flute"
    status, found = read(client, {"input": {"sections": text, "prompt": "lofi", "bpm": 120}})
    assert (status, found["seconds"]) == (200, 16)
    nothing = {"negative_words": None, "chords": None, "bpm": 120}
    assert found["sections"] == [
        {"name": "intro", "start": 0, "end": 8, "words": "soft piano", **nothing},
        {"name": "verse", "start": 8, "end": 16, "words": "drums", **nothing, "negative_words": "flute"},
    ]


def test_chords_of_sections_are_read_with_their_notes(client: httpx.Client) -> None:
    _, found = read(client, {"input": {"sections": "4 bars: x / chords: Am in A minor", "bpm": 120}})
    chord = {"chord": "Am", "notes": ["C", "E", "A"], "share": 1.0}
    assert found["sections"][0]["chords"] == {"count": 1, "bars": [[chord]], "key": "A minor"}


def test_bars_have_their_time_signature(client: httpx.Client) -> None:
    inputs = {"sections": "4 bars: x", "prompt": "waltz", "bpm": 120, "time_signature": "3/4"}
    assert read(client, {"input": inputs})[1]["seconds"] == 6


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "The body must be"),
        ({"input": "intro"}, "The body must be"),
        ({"input": {}}, "sections has no line with a section"),
        ({"input": {"sections": "intro: piano"}}, "Line 1 of sections ('intro: piano') has no length"),
        ({"input": {"sections": 3}}, "sections must be text, not 3."),
        ({"input": {"sections": "a 4 s: x", "bpm": 5}}, "bpm must be a number from 40 to 300, not 5."),
        ({"input": {"sections": "a 4 s: x", "time_signature": "3/5"}}, "time_signature must be"),
        ({"input": {"sections": "a 4 s: x", "seed": 5}}, "There is no input 'seed'"),
    ],
)
def test_what_cannot_be_read_is_said(client: httpx.Client, body: Any, sentence: str) -> None:
    status, reply = read(client, body)
    assert status == 422 and reply["error"].startswith(sentence)
