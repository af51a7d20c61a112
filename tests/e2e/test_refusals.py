"""Rejected requests and their errors; the server keeps working."""

import json
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.requests.fields import FIELDS
from tests.support.harness import PROJECT, Server, file_server, wait_until, webhook

SMALL = {"prompt": "rock", "model_version": "small", "duration": 1}


@pytest.mark.parametrize(
    ("inputs", "field", "reason"),
    [
        ({"model_version": "tiny"}, "model_version", "is not one of"),
        ({"task": "sing"}, "task", "is not one of"),
        ({"output_format": "aiff"}, "output_format", "is not one of"),
        ({"duration": 0.5}, "duration", "minimum"),
        ({"duration": 601}, "duration", "maximum"),
        ({"top_p": 1.5}, "top_p", "maximum"),
        ({"seed": -2}, "seed", "minimum"),
        ({"variations": 21}, "variations", "maximum"),
        ({"variations": 1.5}, "variations", "integer"),
        ({"duration": "8"}, "duration", "number"),
        ({"multi_band_diffusion": 1}, "multi_band_diffusion", "boolean"),
        ({"prompt": 5}, "prompt", "string"),
    ],
)
def test_schema_violations_are_rejected(server: Server, inputs: dict[str, Any], field: str, reason: str) -> None:
    response = server.post({"input": SMALL | inputs})
    assert response.status_code == 422
    [detail] = response.json()["detail"]
    assert detail["loc"] == ["body", "input", field]
    assert reason in detail["msg"]


def test_the_schema_reports_every_problem(server: Server) -> None:
    response = server.post({"input": {"duration": 0, "top_k": "many"}})
    assert response.status_code == 422
    assert {detail["loc"][2] for detail in response.json()["detail"]} == {"duration", "top_k"}


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "Give a prompt, input_audio, or both."),
        ({"prompt": "  "}, "Give a prompt, input_audio, or both."),
        ({"task": "continuation", "prompt": "rock"}, "Task 'continuation' needs input_audio."),
        ({"task": "loop", "prompt": "rock"}, "Task 'loop' needs bpm, from 40 to 300"),
        ({"prompt": "rock", "model_version": "large"}, "Model 'large' is not in the weights folder (present: small,"),
        ({"input_audio": "/etc/passwd"}, "input_audio must be an http(s) URL or a data URI, not '/etc/passwd'."),
        ({"input_audio": "file:///etc/passwd"}, "input_audio must be an http(s) URL or a data URI"),
        (
            {"input_audio": "data:audio/wav;base64,bm8gYXVkaW8="},
            "input_audio cannot be used: the file is not audio that can be decoded",
        ),
        ({"prompt": "90 bpm", "bpm": 100}, "The prompt says 90 bpm but bpm is 100: leave one of them out."),
    ],
)
def test_rules_between_inputs_fail_with_a_sentence(server: Server, inputs: dict[str, Any], sentence: str) -> None:
    reply = server.predict(**{"model_version": "melody" if "input_audio" in inputs else "small"} | inputs)
    assert reply["status"] == "failed"
    assert sentence in reply["error"]
    assert server.make(**SMALL)


def test_every_problem_is_reported_at_once(server: Server, song: str) -> None:
    reply = server.predict(
        model_version="small", task="melody", input_audio=song, continuation_start=100, prompt="90 bpm", bpm=100
    )
    assert "3 problems: (1)" in reply["error"]
    assert "takes no melody" in reply["error"]
    assert "beyond the end of input_audio (1.5 s)" in reply["error"]


PROMPTS = {
    "emoji": "🎷🔥 " * 20,
    "control characters": "rock\x00\x07\x1b[31m\r\n",
    "right to left": "موسيقى هادئة \u202e",
    "paths": "../../../../etc/passwd",
    "a shell": "$(touch pwned); `id` | rm -rf / && echo ' \" ;",
    "markup": "<script>alert(1)</script> {{7*7}} %s %n",
    "as long as may be": "la " * 1333,
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_any_prompt_is_treated_as_text(server: Server, prompt: str) -> None:
    # As mp3, whose tags are written by a command.
    assert server.make(**SMALL | {"prompt": prompt, "output_format": "mp3"})


@pytest.mark.parametrize("prompt", ["", "x" * 50_000])
def test_empty_and_overlong_prompts_are_rejected(server: Server, prompt: str) -> None:
    reply = server.predict(**SMALL | {"prompt": prompt})
    assert reply["status"] == "failed"
    assert "Give a prompt" in reply["error"] or "50000 characters; at most 4000 are allowed" in reply["error"]


def test_a_prediction_id_must_be_plain(server: Server) -> None:
    response = server.post({"id": "../../x", "input": SMALL})
    assert response.status_code == 422
    assert "id must be up to 128 letters" in response.json()["error"]


def test_server_cannot_be_shut_down_by_a_request(server: Server) -> None:
    assert server.client.post("/shutdown").status_code == 404
    assert server.make(**SMALL)


def test_responses_contain_no_paths(server: Server, song: str) -> None:
    for inputs in ({"model_version": "medium"}, {"input_audio": "data:,x", "task": "encode-decode"}):
        response = server.post({"input": SMALL | inputs})
        text = response.text + str(response.headers)
        assert not any(place in text for place in (str(PROJECT), str(server.temp), "site-packages", "/tmp"))


def test_traceback_goes_to_server_log_only(server: Server) -> None:
    wait_until(lambda: server.status() == "READY")
    with webhook() as (hook, reports):
        server.post({"input": SMALL | {"model_version": "medium"}, **hook}, Prefer="respond-async")
        wait_until(lambda: len(reports) > 0)
    [report] = reports
    assert report["status"] == "failed" and "task text, model medium" in report["logs"]
    assert not any(place in str(report) for place in (str(PROJECT), str(server.temp), "site-packages", "Traceback"))
    wait_until(lambda: "Traceback" in server.log.read_text())


def test_damaged_checkpoint_does_not_affect_others(server: Server) -> None:
    reply = server.predict(**SMALL | {"model_version": "medium"})
    assert reply["status"] == "failed"
    assert "'medium' could not be loaded" in reply["error"]
    assert "weights fetch medium" in reply["error"]
    assert server.make(**SMALL)


def test_dead_link_fails(server: Server, song_file: Path) -> None:
    with file_server(song_file.parent) as address:
        reply = server.predict(**SMALL | {"input_audio": f"{address}/nothing.wav"})
    assert reply["status"] == "failed"
    assert "404" in reply["error"]


@pytest.mark.parametrize(
    ("body", "loc", "sentence"),
    [
        ({"input": {"promt": "rock"}}, ["input", "promt"], "There is no input 'promt' (did you mean 'prompt'?)."),
        ({"input": SMALL | {"mood": "happy"}}, ["input", "mood"], "There is no input 'mood'."),
        ({"input": SMALL | {"mood": None}}, ["input", "mood"], "There is no input 'mood'."),
        ({"prompt": "rock"}, ["prompt"], "'prompt' is not inside 'input': put the inputs under 'input'."),
        ({"input": SMALL, "seed": 3}, ["seed"], "'seed' is not inside 'input': put the inputs under 'input'."),
        ({"inputs": SMALL}, ["inputs"], "'inputs' is not inside 'input': put the inputs under 'input'."),
    ],
)
def test_unknown_input_is_reported(server: Server, body: dict[str, Any], loc: list[str], sentence: str) -> None:
    for response in (server.post(body), server.client.put("/predictions/abc", json=body)):
        assert response.status_code == 422
        assert response.json()["error"] == sentence
        assert response.json()["detail"] == [{"loc": ["body", *loc], "msg": sentence, "type": "value_error"}]


def test_misspelt_choice_is_reported_with_a_suggestion(server: Server) -> None:
    response = server.post({"input": SMALL | {"model_version": "stereo-larg"}})
    assert response.status_code == 422
    [detail] = response.json()["detail"]
    assert detail["loc"] == ["body", "input", "model_version"]
    assert detail["msg"].startswith("'stereo-larg' is not one of auto, small,")
    assert detail["msg"].endswith(" (did you mean 'stereo-large'?).")


def test_json_is_json_without_its_content_type(server: Server) -> None:
    wait_until(lambda: server.status() == "READY")
    body = json.dumps({"input": SMALL | {"duration": 0.5}}).encode()
    assert server.client.post("/predictions", content=body).status_code == 422  # its duration was read
    assert server.client.post("/predictions", content=body, headers={"Origin": "http://a.test"}).status_code != 422


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"prompt": " "}, "Prediction failed: Invalid request: Give a prompt, input_audio, or both."),
        (
            {"prompt": "rock", "model_version": "medium"},
            "Prediction failed: Service error: 'medium' could not be loaded",
        ),
    ],
)
def test_error_has_no_repeated_prefix_or_class_name(server: Server, inputs: dict[str, Any], error: str) -> None:
    reply = server.predict(**inputs)
    assert reply["error"].startswith(error) and "Error:" not in reply["error"]


def test_notes_on_unused_inputs_are_in_the_metrics(server: Server) -> None:
    reply = server.predict(**SMALL | {"continuation_start": 1, "bpm": 121, "prompt": "rock 120-122 bpm"})
    assert reply["metrics"]["notes"] == [
        "continuation_start has no effect on task 'text'.",
        "The prompt says 120 to 122 bpm; 121 bpm is used.",
    ]
    assert "note: continuation_start has no effect on task 'text'." in server.log.read_text()
    assert "notes" not in server.predict(**SMALL)["metrics"]


def test_null_input_takes_its_default(server: Server) -> None:
    assert server.make(**SMALL, bpm=None, seed=None, top_k=None)


def test_whole_numbers_may_come_as_floats(server: Server) -> None:
    assert len(server.make(**SMALL, variations=2.0, seed=5.0, top_k=100.0)) == 2


def test_invalid_bodies_are_rejected(server: Server) -> None:
    wait_until(lambda: server.status() == "READY")
    for content, kind, status in ((b"{", "application/json", 400), (b"{}", "text/plain", 415)):
        response = server.client.post("/predictions", content=content, headers={"Content-Type": kind})
        assert response.status_code == status
    assert server.post({"input": 5}).status_code == 422


def test_the_schema_has_every_input_in_order(server: Server) -> None:
    schema = server.client.get("/openapi.json").json()
    inputs = schema["components"]["schemas"]["Input"]["properties"]
    in_order = sorted(inputs, key=lambda name: int(inputs[name]["x-order"]))
    assert in_order == list(FIELDS)
    assert schema["components"]["schemas"]["Output"]["items"] == {"type": "string", "format": "uri"}
