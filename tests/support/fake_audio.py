"""The audio that a fake Cog server sends while it is made."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from musicgen_service.listener import Sound
from musicgen_service.serving import audio_channel
from tests.support.sounds import RATE, tone

if TYPE_CHECKING:
    from tests.support.fake_cog import FakeCog


def music(prompt: str) -> np.ndarray:
    """One half of what is heard of a prompt."""
    return tone(60.0 if prompt == "long music" else 1.0, amplitude=0.2)


def play(server: "FakeCog", prompt: str, context: dict[str, str], cancelled: threading.Event) -> str:
    """Carry out a prediction as the table in `fake_cog` says; returns how it has ended."""
    half = music(prompt)
    with audio_channel.opened(server.audio_socket, context, str) as channel:
        if channel is not None and prompt == "loop":
            channel.refuse("Task 'loop' cannot be streamed.")
        elif channel is not None and _wait_for(lambda: channel.is_listening, cancelled):
            channel.start(Sound(2 * half.shape[1], RATE, 1, "mp3" if prompt == "mp3" else "wav", 2.5))
            if prompt == "late music" and server.prompts.count(prompt) == 1:
                return "failed"
            channel.hear(half)
            if prompt == "broken music":
                return "failed"
            if prompt == "unended music":
                channel.hear(half)
            if _wait_for(server.resume.is_set, cancelled):
                if prompt != "unended music":
                    channel.hear(half)
                channel.end()
        return "succeeded" if _wait_for(server.resume.is_set, cancelled) else "canceled"


def _wait_for(condition: Callable[[], bool], cancelled: threading.Event) -> bool:
    """Wait until a condition holds; false when the prediction is cancelled before."""
    while not condition():
        if cancelled.wait(0.01):
            return False
    return True
