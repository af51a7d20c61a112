"""Reports predictions to the addresses that their clients name."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx2

from musicgen_service.progress import log
from musicgen_service.serving import json_text, outbound, signatures
from musicgen_service.serving.outbound import Address
from musicgen_service.serving.prediction import Prediction

_TIMEOUT = 10.0
"""Seconds for a webhook to be received."""
_WAITS = (1.0, 5.0, 25.0, 60.0)
"""Seconds before the report of the end of a prediction is sent again."""
Form = Callable[[Prediction], dict[str, Any]]


class Webhooks:
    """Sends reports in the background, those of one prediction in their order.

    Parameters
    ----------
    secret : what they are signed with; without it they are not
    """

    def __init__(self, secret: str | None = None) -> None:
        self._secret = secret
        self._http = outbound.client()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Number of predictions whose reports have not all been sent."""
        return len(self._tasks)

    def report(self, prediction: Prediction, address: Address, form: Form) -> None:
        """Report the events of a prediction that its client asks for, until it ends, in some form."""
        reporter = _Reporter(self._http, address, prediction, form, self._secret)
        prediction.on_event = reporter.tell
        task = asyncio.create_task(reporter.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what has not been sent."""
        for task in self._tasks:
            task.cancel()
        await self._http.aclose()


class _Reporter:
    """Sends the reports of one prediction, in their order.

    Parameters
    ----------
    http : sends them
    address : where they go
    prediction : what they are about
    form : returns what to report of it
    secret : what reports are signed with, or None
    """

    def __init__(
        self, http: httpx2.AsyncClient, address: Address, prediction: Prediction, form: Form, secret: str | None
    ) -> None:
        self._http = http
        self._address = address
        self._prediction = prediction
        self._form = form
        self._secret = secret
        self._reports = asyncio.Queue[tuple[str, bytes | None]]()

    def tell(self, event: str) -> None:
        """Report the state of the prediction, if its client asks for that event."""
        content = None
        if event in self._prediction.request.events:
            report = self._form(self._prediction)
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
            headers = {"Content-Type": "application/json", **self._prediction.trace.headers}
            if self._secret is not None:
                headers |= signatures.headers(self._secret, message, int(time.time()), report)
            problem = (await self._address.send(self._http, "POST", report, headers, _TIMEOUT)).problem
            if problem is None:
                return
            if wait is None:
                log(f"webhook of prediction {self._prediction.id} to {self._address} failed: {problem}")
                return
            await asyncio.sleep(wait)
