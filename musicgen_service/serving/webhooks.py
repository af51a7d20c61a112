"""Reports predictions and trainings to the addresses that their clients name."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import httpx2

from musicgen_service.progress import log
from musicgen_service.serving import json_text, outbound, signatures
from musicgen_service.serving.bodies import BodyMemory
from musicgen_service.serving.outbound import Address, AddressError
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

    @property
    def owner(self) -> str:
        """The client."""


class Webhooks:
    """Sends reports in the background, those of one job in their order.

    Parameters
    ----------
    memory : counts those that have not been sent
    secret : what they are signed with; without it they are not
    """

    def __init__(self, memory: BodyMemory, secret: str | None = None) -> None:
        self._memory = memory
        self._secret = secret
        self._http = outbound.client()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Number of jobs whose reports have not all been sent."""
        return len(self._tasks)

    def report(self, job: Job, address: Address | str, form: Form) -> Callable[[str], None]:
        """Report the events of a job that its client asks for, until it ends; returns what is to be told each event.

        Parameters
        ----------
        job : what is reported
        address : where; a URL is looked at when there is something to report
        form : returns what to report
        """
        reporter = _Reporter(self._http, address, job, form, self._memory, self._secret)
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

    The job, whose output may be large, is not needed any more when it has ended.

    Parameters
    ----------
    http : sends them
    address : where they go, or its URL
    job : what they are about
    form : returns what to report of it
    memory : counts those that have not been sent
    secret : what reports are signed with, or None
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        address: Address | str,
        job: Job,
        form: Form,
        memory: BodyMemory,
        secret: str | None,
    ) -> None:
        self._http = http
        self._address = address
        self._id, self._owner, self._events = job.id, job.owner, job.request.events
        self._headers = {"Content-Type": "application/json", **job.trace.headers}
        self._form: Form | None = form
        self._memory = memory
        self._secret = secret
        self._reports = asyncio.Queue[tuple[str, bytes | None]]()

    def tell(self, event: str) -> None:
        """Report the state of the job, if its client asks for that event."""
        content = None
        if event in self._events and self._form is not None:
            report = self._form()
            # Whatever comes before the end, it is processing.
            status = report["status"] if event == "completed" else "processing"
            content = json_text.encode(report | {"status": status})
            self._memory.hold(self._owner, len(content))
        if event == "completed":
            self._form = None
        self._reports.put_nowait((event, content))

    async def run(self) -> None:
        """Send reports until the last one has been received or given up."""
        event = ""
        while event != "completed":
            event, report = await self._reports.get()
            if report is not None:
                try:
                    await self._deliver(report, _WAITS if event == "completed" else ())
                finally:
                    self._memory.release(self._owner, len(report))

    async def _deliver(self, report: bytes, waits: Iterable[float]) -> None:
        message = f"msg_{secrets.token_hex(16)}"
        for wait in (*waits, None):
            headers = self._headers
            if self._secret is not None:
                headers = headers | signatures.headers(self._secret, message, int(time.time()), report)
            problem = await self._send(report, headers)
            if problem is None:
                return
            if wait is None:
                log(f"webhook of {self._id} {problem}")
                return
            await asyncio.sleep(wait)

    async def _send(self, report: bytes, headers: Mapping[str, str]) -> str | None:
        """Send a report; returns why it was not received, as the rest of a sentence, or None."""
        if isinstance(self._address, str):
            try:
                self._address = await Address.check(self._address)
            except AddressError as error:
                return str(error)
        problem = (await self._address.send(self._http, "POST", report, headers, _TIMEOUT)).problem
        return None if problem is None else f"to {self._address} failed: {problem}"
