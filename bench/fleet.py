"""How long clients wait at a number of replicas: a simulation of the service on a Ray cluster.

    python -m bench.fleet --requests-per-minute 60 --replicas 1 2 4 8
    python -m bench.fleet --check

A replica makes `--alone` seconds of audio in a second for one request, and `--together` for as many as it has slots,
which share them alike; in between it is interpolated. Requests wait in one queue, as they do in the gateway, and go to
the replica with the most free slots. `--scale` adds Serve's autoscaler, `--cold-start` the time until a new replica
works. docs/ray.md has the arithmetic without a simulation.

`--check` sends the same requests, at the same times, to a cluster on this machine, whose Cog servers are fakes
that take a second for each, and prints how far the simulation, told how long one takes alone, is from it; the status is
1 where that is too far. Ray has to be installed (`make install-ray`).
"""

import argparse
import math
import random
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

_Process = Generator[simpy.Event, Any, Any]
_CONTROL_INTERVAL = 1.0
"""Seconds between two decisions of the autoscaler."""
_DAY = 86_400.0


@dataclass(frozen=True)
class Fleet:
    """What a fleet is like.

    Attributes
    ----------
    replicas : at the start, and at least
    most : replicas at most
    slots : requests that a replica carries out at the same time
    alone, together : seconds of audio made in a second, for one request and for as many as there are slots
    cold_start : seconds until a new replica works
    target : requests for each replica that the autoscaler aims at
    up_after, down_after : seconds for which it must have wanted more, or fewer, replicas
    """

    replicas: int
    most: int
    slots: int = 8
    alone: float = 1.0
    together: float = 4.0
    cold_start: float = 30.0
    target: float = 6.0
    up_after: float = 10.0
    down_after: float = 600.0

    def rate(self, busy: int) -> float:
        """Seconds of audio that a replica makes in a second for so many requests."""
        if self.slots == 1:
            return self.alone
        return self.alone + (self.together - self.alone) * (busy - 1) / (self.slots - 1)


@dataclass(eq=False)
class Request:
    """One request: when it comes, how much audio it asks for, and what became of it, all in seconds."""

    at: float
    audio: float
    started: float = math.nan
    ended: float = math.nan

    @property
    def wait(self) -> float:
        """How long it waited for a slot."""
        return self.started - self.at

    @property
    def seconds(self) -> float:
        """How long its client waited for the result."""
        return self.ended - self.at


@dataclass(eq=False)
class Replica:
    """One replica, whose requests share what it makes."""

    env: simpy.Environment
    fleet: Fleet
    running: dict[Request, float] = field(default_factory=dict)
    """Seconds of audio that are still to be made."""
    updated: float = 0.0
    is_leaving: bool = False

    def free(self) -> int:
        """Number of slots that can take a request."""
        return 0 if self.is_leaving else self.fleet.slots - len(self.running)

    def advance(self) -> None:
        """Make what has been made since the last time."""
        elapsed, self.updated = self.env.now - self.updated, self.env.now
        if self.running:
            share = elapsed * self.fleet.rate(len(self.running)) / len(self.running)
            self.running = {request: left - share for request, left in self.running.items()}

    def next_end(self) -> float:
        """Seconds until the first request ends, if no other comes."""
        if not self.running:
            return math.inf
        return max(0.0, min(self.running.values())) * len(self.running) / self.fleet.rate(len(self.running))


class Simulation:
    """A fleet that carries requests out, from the first to the last.

    Parameters
    ----------
    fleet : what it is like
    requests : in the order in which they come; they are filled in
    """

    def __init__(self, fleet: Fleet, requests: Sequence[Request]) -> None:
        self.fleet = fleet
        self.requests = requests
        self.env = simpy.Environment()
        self.waiting: list[Request] = []
        self.replicas = [self._new() for _ in range(fleet.replicas)]
        self.starting = 0
        self.replica_seconds = 0.0
        self._left = len(requests)
        self._change = self.env.event()

    def run(self) -> None:
        """Simulate until the last request has ended."""
        self.env.process(self._arrive())
        if self.fleet.most > self.fleet.replicas:
            self.env.process(self._scale())
        self.env.run(self.env.process(self._work()))

    def _new(self) -> Replica:
        return Replica(self.env, self.fleet, updated=self.env.now)

    def _tell(self) -> None:
        self._change.succeed()
        self._change = self.env.event()

    def _arrive(self) -> _Process:
        for request in self.requests:
            yield self.env.timeout(request.at - self.env.now)
            self.waiting.append(request)
            self._tell()

    def _work(self) -> _Process:
        """Whenever something changes or a request ends: note what has ended, and fill the slots."""
        while self._left:
            ends = min((replica.next_end() for replica in self.replicas), default=math.inf)
            before = self.env.now
            # Not the timeout alone: one of an infinite time would never come.
            yield self._change | self.env.timeout(ends) if ends < math.inf else self._change
            self.replica_seconds += (self.env.now - before) * (len(self.replicas) + self.starting)
            for replica in self.replicas:
                replica.advance()
                for request in [request for request, left in replica.running.items() if left < 1e-9]:
                    del replica.running[request]
                    request.ended = self.env.now
                    self._left -= 1
            self.replicas = [replica for replica in self.replicas if replica.running or not replica.is_leaving]
            while self.waiting and (replica := max(self.replicas, key=Replica.free)).free():
                request = self.waiting.pop(0)
                request.started = self.env.now
                replica.running[request] = request.audio

    def _scale(self) -> _Process:
        """Serve's autoscaler: as many replicas as the requests need, when it has wanted so for long enough."""
        more = fewer = 0.0
        while True:
            yield self.env.timeout(_CONTROL_INTERVAL)
            staying = [replica for replica in self.replicas if not replica.is_leaving]
            have = len(staying) + self.starting
            # The gateway hands on one replica's worth more than fit.
            known = min(len(self.waiting), self.fleet.slots) + sum(len(replica.running) for replica in self.replicas)
            want = min(max(math.ceil(known / self.fleet.target), self.fleet.replicas), self.fleet.most)
            more = more + _CONTROL_INTERVAL if want > have else 0.0
            fewer = fewer + _CONTROL_INTERVAL if want < have else 0.0
            if more >= self.fleet.up_after:
                for _ in range(want - have):
                    self.env.process(self._start())
                more = 0.0
            elif fewer >= self.fleet.down_after:
                for replica in sorted(staying, key=lambda replica: len(replica.running))[: have - want]:
                    replica.is_leaving = True
                fewer = 0.0
                self._tell()

    def _start(self) -> _Process:
        self.starting += 1
        yield self.env.timeout(self.fleet.cold_start)
        self.starting -= 1
        self.replicas.append(self._new())
        self._tell()


def arrivals(pattern: str, per_minute: float, count: int, audio: float, seed: int) -> list[Request]:
    """Requests that come in a pattern.

    Parameters
    ----------
    pattern : `even`; `random` (a Poisson process); `bursts` of ten at once; `day`, random with a rate that goes from
        nothing to twice the mean and back within a day
    per_minute : how many come in a minute, in the mean
    count : how many come in all
    audio : seconds of audio that one asks for, in the mean: a half to one and a half times this; `even`, all the same
    """
    drawn, now, found = random.Random(seed), 0.0, list[Request]()
    rate = per_minute / 60
    while len(found) < count:
        if pattern == "even":
            now += 1 / rate
            found.append(Request(now, audio))
            continue
        now += drawn.expovariate(rate / 10 if pattern == "bursts" else 2 * rate if pattern == "day" else rate)
        if pattern == "day" and drawn.random() > (1 - math.cos(2 * math.pi * now / _DAY)) / 2:
            continue
        for _ in range(10 if pattern == "bursts" else 1):
            found.append(Request(now, audio * drawn.uniform(0.5, 1.5)))
    return found[:count]


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def simulated(fleet: Fleet, requests: Sequence[Request]) -> Simulation:
    """A simulation that has been run."""
    simulation = Simulation(fleet, requests)
    simulation.run()
    return simulation


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def main() -> None:
    """Simulate, or check the simulation, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with a cluster on this machine")
    parser.add_argument("--pattern", choices=("even", "random", "bursts", "day"), default="random")
    parser.add_argument("--requests-per-minute", type=_positive, default=60.0, metavar="N")
    parser.add_argument("--requests", type=_count, default=2000, metavar="N", help="in all")
    parser.add_argument("--audio", type=_positive, default=10.0, metavar="S", help="seconds that a request asks for")
    parser.add_argument("--replicas", type=_count, nargs="+", default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--scale", type=_count, metavar="N", help="let Serve start up to N replicas")
    parser.add_argument("--slots", type=_count, default=8, metavar="N")
    parser.add_argument(
        "--alone", type=_positive, default=1.0, metavar="R", help="audio seconds a second, for one request"
    )
    parser.add_argument("--together", type=_positive, default=4.0, metavar="R", help="the same, with all slots in use")
    parser.add_argument("--cold-start", type=_positive, default=30.0, metavar="S")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.scale and options.scale < max(options.replicas):
        parser.error(f"--scale {options.scale} is fewer replicas than there are at the start: {max(options.replicas)}")
    if options.check:
        from bench import fleet_check  # which needs Ray

        fleet_check.main()
        return
    print(f"{'replicas':>8}  {'wait 50 %':>9}  {'wait 99 %':>9}  {'reply 50 %':>10}  {'reply 99 %':>10}  {'in use':>6}")
    for count in options.replicas:
        fleet = Fleet(count, options.scale or count, options.slots, options.alone, options.together, options.cold_start)
        given = (options.pattern, options.requests_per_minute, options.requests, options.audio, options.seed)
        done = simulated(fleet, arrivals(*given))
        waits = percentiles([request.wait for request in done.requests])
        replies = percentiles([request.seconds for request in done.requests])
        in_use = sum(request.audio for request in done.requests) / (fleet.rate(fleet.slots) * done.replica_seconds)
        figures = f"{waits[0]:>9.1f}  {waits[1]:>9.1f}  {replies[0]:>10.1f}  {replies[1]:>10.1f}"
        print(f"{count:>8}  {figures}  {in_use:>6.0%}")


if __name__ == "__main__":
    main()
