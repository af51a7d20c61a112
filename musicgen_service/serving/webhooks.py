"""Reports predictions to the addresses that their clients name."""

import asyncio
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx2

from musicgen_service.inputs import addresses
from musicgen_service.progress import log
from musicgen_service.serving import json_text
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.tracing import Trace

_TIMEOUT = 10.0
"""Seconds for a webhook to be received."""
_RESOLVE_TIMEOUT = 5.0
_RESOLVERS = ThreadPoolExecutor(8, "webhook-resolver")
"""Threads of their own: a name server that is slow holds nothing else."""
_WAITS = (1.0, 5.0, 25.0, 60.0)
"""Seconds before the report of the end of a prediction is sent again."""
_URL = re.compile(r"https?://[^\\\s\x00-\x1f@]+", re.IGNORECASE | re.ASCII)
"""No user, and nothing that two parsers could read differently."""
_SCHEMES = {"http": 80, "https": 443}


class Address:
    """The address of a webhook, resolved once; every report goes to the host that was checked.

    Parameters
    ----------
    url : as sent to
    ip : where its host is
    """

    def __init__(self, url: httpx2.URL, ip: str) -> None:
        self._url = url
        self._host = url.raw_host.decode("ascii")
        self._ip = ip

    @classmethod
    async def check(cls, text: str) -> "Address":
        """Check and resolve an address.

        Raises
        ------
        Refusal
            When it is no http(s) address of a host on the public internet.
        """
        try:
            url = httpx2.URL(text) if _URL.fullmatch(text) else None
        except httpx2.InvalidURL:
            url = None
        if url is None or not url.host or url.userinfo:
            raise Refusal(422, "webhook must be an http(s) URL.")
        try:
            host, port = url.raw_host.decode("ascii"), url.port or _SCHEMES[url.scheme]
            async with asyncio.timeout(_RESOLVE_TIMEOUT):
                ip = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, addresses.resolve, host, port)
        except (addresses.AddressError, TimeoutError):
            # One sentence, so that nobody learns which names there are in this network.
            raise Refusal(422, "webhook cannot be used: its host is not on the public internet.") from None
        return cls(url, ip)

    async def post(self, http: httpx2.AsyncClient, content: bytes, trace: Trace) -> str | None:
        """Send a report, as a part of a trace; returns why it was not received, or None."""
        headers = {"Host": self._url.netloc.decode("ascii"), "Content-Type": "application/json", **trace.headers}
        try:
            async with asyncio.timeout(_TIMEOUT):
                pinned = self._url.copy_with(host=self._ip)
                # What is received does not matter, and may be endless.
                async with http.stream(
                    "POST", pinned, content=content, headers=headers, extensions={"sni_hostname": self._host}
                ) as reply:
                    return None if reply.is_success else f"status {reply.status_code}"
        except TimeoutError:
            return f"no answer within {_TIMEOUT:g} s"
        except httpx2.HTTPError as error:
            return type(error).__name__

    def __str__(self) -> str:
        """The address without its path and query, which may hold secrets."""
        return f"{self._url.scheme}://{self._url.netloc.decode('ascii')}"


class Webhooks:
    """Sends reports in the background, those of one prediction in their order."""

    def __init__(self) -> None:
        # A connection is not used again: its certificate was checked for one of the hosts at that IP address.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(follow_redirects=False, limits=limits, timeout=_TIMEOUT, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Number of predictions whose reports have not all been sent."""
        return len(self._tasks)

    def report(self, prediction: Prediction, address: Address) -> None:
        """Report the events of a prediction that its client asks for, until it ends."""
        reporter = _Reporter(self._http, address, prediction)
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
    """

    def __init__(self, http: httpx2.AsyncClient, address: Address, prediction: Prediction) -> None:
        self._http = http
        self._address = address
        self._prediction = prediction
        self._reports = asyncio.Queue[tuple[str, bytes]]()

    def tell(self, event: str) -> None:
        """Report the state of the prediction, if its client asks for that event."""
        report = self._prediction.as_cog()
        # Whatever comes before the end, it is processing.
        status = report["status"] if event == "completed" else "processing"
        self._reports.put_nowait((event, json_text.encode(report | {"status": status})))

    async def run(self) -> None:
        """Send reports until the last one has been received or given up."""
        event = ""
        while event != "completed":
            event, report = await self._reports.get()
            if event in self._prediction.request.events:
                await self._deliver(report, _WAITS if event == "completed" else ())

    async def _deliver(self, report: bytes, waits: Iterable[float]) -> None:
        for wait in (*waits, None):
            problem = await self._address.post(self._http, report, self._prediction.trace)
            if problem is None:
                return
            if wait is None:
                log(f"webhook of prediction {self._prediction.id} to {self._address} failed: {problem}")
                return
            await asyncio.sleep(wait)
