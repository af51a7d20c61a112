"""What a client may use up per minute."""

import pytest

from musicgen_service.serving import rates
from musicgen_service.serving.rates import Rate


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_minutes_worth_may_be_used_at_once(clock: Clock) -> None:
    rate = Rate(60, clock)
    assert [rate.take("a") for _ in range(60)] == [0.0] * 60
    assert rate.take("a") == pytest.approx(1)


def test_it_is_filled_steadily(clock: Clock) -> None:
    rate = Rate(60, clock)
    rate.take("a", 60)
    clock.now += 10
    assert rate.take("a", 15) == pytest.approx(5)
    assert rate.take("a", 10) == 0
    clock.now += 3600
    assert rate.take("a", 60) == 0 and rate.take("a", 1) > 0  # never more than a minute's worth


def test_clients_do_not_share(clock: Clock) -> None:
    rate = Rate(1, clock)
    assert (rate.take("a"), rate.take("b")) == (0, 0)
    assert rate.take("a") == pytest.approx(60)


def test_more_than_a_minutes_worth_is_paid_off_later(clock: Clock) -> None:
    rate = Rate(60, clock)
    assert rate.take("a", 180) == 0
    assert rate.take("a", 1) == pytest.approx(121)
    clock.now += 121
    assert rate.take("a", 1) == 0
    assert rate.take("a", 180) > 0


def test_what_is_not_used_is_given_back(clock: Clock) -> None:
    rate = Rate(60, clock)
    rate.take("a", 60)
    rate.give_back("a", 20)
    assert rate.take("a", 20) == 0 and rate.take("a") > 0
    rate.give_back("b", 20)  # whose bucket is full
    assert rate.take("b", 60) == 0 and rate.take("b") > 0


def test_full_buckets_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MIN_SWEPT", 10)
    rate = Rate(60, clock)
    rate.take("busy", 60)
    for number in range(1000):
        clock.now += 0.01
        rate.take(f"client-{number}")
    assert len(rate._full_at) < 300
    assert rate.take("busy", 60) > 0
