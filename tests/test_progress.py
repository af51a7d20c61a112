"""Lines of the log."""

import sys

import pytest

from musicgen_service.progress import log, quiet


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of requests that are carried out at the same time would mix otherwise."""
    writes: list[str] = []

    class Recorder:
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stderr", Recorder())
    log("a line")
    log("another")
    assert writes == ["a line\n", "another\n"]


def test_closed_terminal_does_not_fail_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _text: str) -> int:
            raise OSError

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stderr", Closed())
    log("a line")


def test_quiet_requests_are_quiet_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        log("inside")
    log("outside")
    assert capsys.readouterr().err == "outside\n"
