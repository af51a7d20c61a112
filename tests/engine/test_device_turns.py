"""Turns on a device: one at a time, in the order of asking."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from musicgen_service.engine import device_turns
from musicgen_service.engine.device_turns import turn
from tests.support.harness import wait_until

CPU = torch.device("cpu")


def test_those_who_wait_are_served_in_their_order() -> None:
    order: list[int] = []
    lock = device_turns._LOCKS[CPU]

    def has_asked(ticket: int) -> bool:
        return lock._next_ticket > ticket

    def work(number: int) -> None:
        with turn(CPU):
            order.append(number)

    with ThreadPoolExecutor(5) as pool:
        with turn(CPU):
            for number in range(5):
                waiting = lock._next_ticket
                pool.submit(work, number)
                wait_until(partial(has_asked, waiting))
            assert order == []
        with turn(CPU):  # who has just had it comes last
            assert order == [0, 1, 2, 3, 4]


def test_devices_are_independent() -> None:
    with turn(CPU), turn(torch.device("meta")):
        pass
