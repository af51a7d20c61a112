"""`POST /chords` tells how the chords of a text are read."""

import threading
from typing import Any

import httpx
import pytest

from musicgen_service.requests import chord_text


def read(client: httpx.Client, text: Any) -> httpx.Response:
    return client.post("/chords", json={"input": {"text_chords": text}})


def test_each_bar_has_its_chords_and_their_notes(client: httpx.Client) -> None:
    answer = read(client, "| ii7 / V | I/E | in C major")
    assert answer.status_code == 200 and answer.json() == {
        "count": 2,
        "bars": [
            [
                {"chord": "Dm7", "notes": ["C", "D", "F", "A"], "share": pytest.approx(2 / 3)},
                {"chord": "G", "notes": ["D", "G", "B"], "share": pytest.approx(1 / 3)},
            ],
            [{"chord": "C/E", "notes": ["C", "E", "G"], "share": 1.0}],
        ],
        "key": "C major",
    }


def test_chords_are_read_beside_other_requests(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    original, threads = chord_text.read, list[str]()

    def read_here(text: str) -> chord_text.Progression:
        threads.append(threading.current_thread().name)
        return original(text)

    monkeypatch.setattr(chord_text, "read", read_here)
    assert read(client, "Am F").status_code == 200
    assert len(threads) == 1 and threads != ["http"]  # that of all requests


def test_a_long_progression_is_counted_and_its_beginning_shown(client: httpx.Client) -> None:
    answer = read(client, "|: N.C. :| x99 " * 40).json()
    assert answer["count"] == 99 * 40 and len(answer["bars"]) == 200 and answer["bars"][0][0]["notes"] == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("C Q", "text_chords: bar 2 has 'Q', which is no chord known here"),
        ("", "text_chords: there is no chord in it."),
        (None, "text_chords: there is no chord in it."),
        (5, "text_chords must be text, not 5."),
        ("C" * 4001, "The text_chords has 4001 characters; at most 4000 are allowed."),
    ],
)
def test_what_cannot_be_read_is_a_sentence(client: httpx.Client, text: Any, sentence: str) -> None:
    answer = read(client, text)
    assert answer.status_code == 422 and answer.json()["error"].startswith(sentence)


@pytest.mark.parametrize("body", [[], {}, {"input": "C"}, {"input": {"chords": "C"}}])
def test_other_bodies_are_refused(client: httpx.Client, body: Any) -> None:
    answer = client.post("/chords", json=body)
    assert answer.status_code == 422 and answer.json()["error"].endswith(".")
