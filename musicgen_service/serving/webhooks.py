"""Reports predictions and trainings to the addresses that their clients name."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import httpx2

from musicgen_service.progress import log
from musicgen_service.serving import json_text, outbound, signatures
from musicgen_service.serving.outbound import Address
from musicgen_service.serving.tracing import Trace

_TIMEOUT = 10.0
"""Seconds for a webhook to be received."""
_WAITS = (1.0, 5.0, 25.0, 60.0)
"""Seconds before the report of the end of a job is sent again."""
Form = Callable[[], dict[str, Any]]
"""Returns what to report, with the `status` among it."""


class _Request(Protocol):
    @property
    def events(self) -> tuple[str, ...]:
        """The events to report."""


class Job(Protocol):
    """What is reported: a prediction or a training."""

    trace: Trace

    @property
    def request(self) -> _Request:
        """What its client asks for."""

    @property
    def id(self) -> str:
        """By which its client knows it."""


class Webhooks:
    """Sends reports in the background, those of one job in their order.

    Parameters
    ----------
    secret : what they are signed with; without it they are not
    """

    def __init__(self, secret: str | None = None) -> None:
        self._secret = secret
        self._http = outbound.client()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Number of jobs whose reports have not all been sent."""
        return len(self._tasks)

    def report(self, job: Job, address: Address, form: Form) -> Callable[[str], None]:
        """Report the events of a job that its client asks for, until it ends; returns what is to be told each event."""
        reporter = _Reporter(self._http, address, job, form, self._secret)
        task = asyncio.create_task(reporter.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return reporter.tell

    async def close(self) -> None:
        """Give up what has not been sent."""
        for task in self._tasks:
            task.cancel()
        await self._http.aclose()


class _Reporter:
    """Sends the reports of one job, in their order.

    Parameters
    ----------
    http : sends them
    address : where they go
    job : what they are about
    form : returns what to report of it
    secret : what reports are signed with, or None
    """

    def __init__(self, http: httpx2.AsyncClient, address: Address, job: Job, form: Form, secret: str | None) -> None:
        self._http = http
        self._address = address
        self._job = job
        self._form = form
        self._secret = secret
        self._reports = asyncio.Queue[tuple[str, bytes | None]]()

    def tell(self, event: str) -> None:
        """Report the state of the job, if its client asks for that event."""
        content = None
        if event in self._job.request.events:
            report = self._form()
            # Whatever comes before the end, it is processing.
            status = report["status"] if event == "completed" else "processing"
            content = json_text.encode(report | {"status": status})
        self._reports.put_nowait((event, content))

    async def run(self) -> None:
        """Send reports until the last one has been received or given up."""
        event = ""
        while event != "completed":
            event, report = await self._reports.get()
            if report is not None:
                await self._deliver(report, _WAITS if event == "completed" else ())

    async def _deliver(self, report: bytes, waits: Iterable[float]) -> None:
        message = f"msg_{secrets.token_hex(16)}"
        for wait in (*waits, None):
            headers = {"Content-Type": "application/json", **self._job.trace.headers}
            if self._secret is not None:
                headers |= signatures.headers(self._secret, message, int(time.time()), report)
            problem = (await self._address.send(self._http, "POST", report, headers, _TIMEOUT)).problem
            if problem is None:
                return
            if wait is None:
                log(f"webhook of {self._job.id} to {self._address} failed: {problem}")
                return
            await asyncio.sleep(wait)
