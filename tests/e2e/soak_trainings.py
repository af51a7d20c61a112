"""The trainings of the soak: previews, some that are cancelled, and one that learns, one after the other."""

import time
from typing import Any

import httpx

from tests.support.harness import TIMEOUT

ENDED = ("succeeded", "failed", "canceled")
_LOOK_SECONDS = 0.5
_QUICK = {"epochs": 1, "updates_per_epoch": 2, "batch_size": 1, "kept": 0, "crop": 5, "every": 1, "rank": 4}
_KINDS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("previewed", {"preview": True}, "succeeded"),
    ("cancelled", _QUICK | {"updates_per_epoch": 10_000}, "canceled"),
    ("learned", _QUICK, "succeeded"),
    ("previewed", {"preview": True}, "succeeded"),
)
"""The name of the adapter, the inputs, and the expected end of each."""


def train(address: httpx.URL, song: str) -> list[str]:
    """Ask for all trainings; returns a sentence for each that did not end as it should.

    Parameters
    ----------
    address : of the service
    song : a data URI, of 5 s at least
    """
    wrong = []
    with httpx.Client(base_url=address, timeout=10 * TIMEOUT) as client:
        for name, more, expected in _KINDS:
            inputs = {"dataset_path": song, "model_version": "small", "drop_vocals": False} | more
            reply = client.post("/v1/trainings", json={"destination": name, "input": inputs})
            assert reply.status_code == 201, reply.text
            training = _ended(client, reply.json()["id"], is_cancelled=expected == "canceled")
            if training["status"] != expected:
                wrong.append(f"training {name}: {training['status']} in place of {expected}: {training['error']}")
    return wrong


def _ended(client: httpx.Client, training_id: str, *, is_cancelled: bool) -> dict[str, Any]:
    """A training once it has ended; it may be cancelled when it has begun to learn."""
    while True:
        reply = client.get(f"/v1/trainings/{training_id}")
        training: dict[str, Any] = reply.raise_for_status().json()
        if training["status"] in ENDED:
            return training
        if is_cancelled and (training["progress"] or {}).get("stage") == "training":
            client.post(f"/v1/trainings/{training_id}/cancel").raise_for_status()
        time.sleep(_LOOK_SECONDS)
