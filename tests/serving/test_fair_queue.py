"""Turns of clients that wait."""

import random

import pytest

from musicgen_service.serving.fair_queue import FairQueue


def filled(*items: str, maximum: int = 100) -> FairQueue[str]:
    """A queue of items such as `a1`, each of the client of its first letter."""
    queue = FairQueue[str](maximum)
    for item in items:
        queue.add(item[0], item)
    return queue


def taken(queue: FairQueue[str]) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_clients_take_turns() -> None:
    assert taken(filled("a1", "a2", "a3", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_impatient_clients_do_not_starve_a_polite_one() -> None:
    queue = filled(*(f"{client}{number}" for number in range(30) for client in "xyz"))
    queue.add("p", "p0")
    assert taken(queue).index("p0") <= 3


def test_a_client_whose_turn_was_comes_last() -> None:
    queue = filled("a1", "a2", "b1")
    assert queue.take() == "a1"
    queue.add("c", "c1")
    assert taken(queue) == ["b1", "a2", "c1"]


def test_an_item_may_leave() -> None:
    queue = filled("a1", "b1", "b2")
    assert queue.remove("b", "b1") and not queue.remove("b", "b1") and not queue.remove("z", "b2")
    assert taken(queue) == ["a1", "b2"]
    assert queue.position("b", "b2") is None


def test_a_client_alone_may_have_all_places() -> None:
    queue = filled("a1", "a2", maximum=2)
    assert not queue.has_place("a")
    queue.take()
    assert queue.has_place("a") and len(queue) == 1


def test_there_is_always_a_place_for_a_new_client() -> None:
    queue = filled(*(f"a{number}" for number in range(4)), maximum=4)
    for client in "bcd":
        assert queue.has_place(client)
        queue.add(client, f"{client}0")
        assert not queue.has_place(client)  # a second one
    assert not queue.has_place("e")  # as many clients wait as there are places
    assert len(queue) < 2 * 4


def test_clients_that_wait_have_equal_shares() -> None:
    queue = filled("a1", "a2", "a3", "b1", maximum=8)
    assert queue.has_place("a") and queue.has_place("b")
    queue.add("a", "a4")
    assert not queue.has_place("a") and queue.has_place("b")
    queue.add("c", "c1")
    queue.add("b", "b2")
    assert not queue.has_place("b") and queue.has_place("c")


def test_nothing_is_taken_from_an_empty_queue() -> None:
    with pytest.raises(KeyError):
        FairQueue[str](1).take()


@pytest.mark.parametrize("seed", range(20))
def test_positions_are_those_of_the_turns(seed: int) -> None:
    rng = random.Random(seed)
    queue = filled(*(f"{rng.choice('abcd')}{number}" for number in range(12)))
    for _ in range(rng.randrange(4)):
        queue.take()
    positions = {item: queue.position(item[0], item) for item in (f"{c}{n}" for c in "abcd" for n in range(12))}
    assert [positions[item] for item in taken(queue)] == list(
        range(len(positions) - list(positions.values()).count(None))
    )
