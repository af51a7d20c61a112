"""The simulation of a fleet, against what is known of queues."""

import random
import statistics

import pytest

from bench import fleet
from bench.fleet import Fleet, Request, arrivals, percentiles, simulated


def test_one_request_takes_its_time_alone() -> None:
    [request] = simulated(Fleet(1, 1, slots=8, alone=2.0, together=4.0), [Request(5.0, 10.0)]).requests
    assert request.wait == 0.0 and request.seconds == pytest.approx(5.0)


def test_requests_share_what_a_replica_makes() -> None:
    requests = simulated(Fleet(1, 1, slots=2, alone=2.0, together=3.0), [Request(0.0, 6.0), Request(1.0, 6.0)]).requests
    # Alone for a second: 2 of 6. Then 1.5 a second each, until the first has made 4 more; the second has 2 left, alone.
    assert [request.ended for request in requests] == [pytest.approx(1 + 4 / 1.5), pytest.approx(1 + 4 / 1.5 + 1)]


def test_who_finds_no_slot_waits_for_one() -> None:
    requests = simulated(Fleet(2, 2, slots=1), [Request(0.0, 3.0), Request(0.0, 5.0), Request(1.0, 1.0)]).requests
    assert [request.wait for request in requests] == [0.0, 0.0, pytest.approx(2.0)]


def test_a_random_queue_waits_as_theory_says() -> None:
    """Of an M/M/1 queue that is in use half of the time, the mean wait is one service time."""
    drawn = random.Random(1)
    requests = [Request(request.at, drawn.expovariate(1.0)) for request in arrivals("random", 30.0, 20_000, 1.0, 2)]
    done = simulated(Fleet(1, 1, slots=1, alone=1.0, together=1.0), requests).requests
    assert statistics.fmean(request.wait for request in done) == pytest.approx(1.0, rel=0.1)


def test_replicas_are_added_while_requests_wait_and_taken_away_afterwards() -> None:
    fleet = Fleet(1, 4, slots=2, alone=1.0, together=2.0, cold_start=5.0, target=2.0, up_after=2.0, down_after=10.0)
    burst = [Request(0.0, 20.0) for _ in range(8)]
    late = Request(300.0, 1.0)
    scaled = simulated(fleet, [*burst, late])
    fixed = simulated(Fleet(1, 1, slots=2, alone=1.0, together=2.0), [Request(0.0, 20.0) for _ in range(8)])
    assert max(request.seconds for request in burst) < 0.7 * max(request.seconds for request in fixed.requests)
    assert len(scaled.replicas) == 1 and late.wait == 0.0


@pytest.mark.parametrize("pattern", ["even", "random", "bursts", "day"])
def test_arrivals_come_at_the_rate_that_is_asked_for(pattern: str) -> None:
    found = arrivals(pattern, 60.0, 43_200, 10.0, seed=3)  # until noon
    assert len(found) / found[-1].at == pytest.approx(1.0, rel=0.05)
    assert statistics.fmean(request.audio for request in found) == pytest.approx(10.0, rel=0.01)


def test_percentiles_are_the_middle_and_the_end() -> None:
    assert percentiles(list(range(101))) == (50.0, 99.0)
    assert percentiles([3.0]) == (3.0, 3.0)


def test_one_request_is_simulated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["fleet", "--requests", "1", "--replicas", "1", "--slots", "1", "--alone", "2"])
    fleet.main()
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--replicas 0", "argument --replicas: 0 is not at least 1"),
        ("--requests 0", "argument --requests: 0 is not at least 1"),
        ("--requests-per-minute 0", "argument --requests-per-minute: 0 is not above 0"),
        ("--replicas 2 4 --scale 3", "--scale 3 is fewer replicas than there are at the start: 4"),
    ],
)
def test_an_impossible_fleet_is_refused(
    arguments: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fleet", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        fleet.main()
    assert ended.value.code == 2 and message in capsys.readouterr().err
