"""Requests of the service to addresses that clients and operators name: to hosts that were checked, and no others."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2

from musicgen_service.inputs import addresses

_RESOLVE_TIMEOUT = 5.0
_RESOLVERS = ThreadPoolExecutor(8, "outbound-resolver")
"""Threads of their own: a name server that is slow holds nothing else."""
_URL = re.compile(r"https?://[^\\\s\x00-\x1f@/?#]+(?:[/?#][^\\\s\x00-\x1f]*)?", re.IGNORECASE | re.ASCII)
"""No user, and nothing that two parsers could read differently."""
_SCHEMES = {"http": 80, "https": 443}


class AddressError(ValueError):
    """An address cannot be used; the message completes "webhook ..."."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes
    ----------
    problem : why the request was not accepted, or None
    location : the header `Location`, or an empty text
    """

    problem: str | None
    location: str = ""


def client() -> httpx2.AsyncClient:
    """What sends requests: it follows no redirects.

    A connection is not used again: its certificate was checked for one of the hosts at that IP address.
    """
    limits = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.AsyncClient(follow_redirects=False, limits=limits, timeout=None, trust_env=False)


class Address:
    """An address, resolved once; every request goes to the host that was checked.

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
        AddressError
            When it is no http(s) address of a host on the public internet.
        """
        try:
            url = httpx2.URL(text) if _URL.fullmatch(text) else None
        except httpx2.InvalidURL:
            url = None
        if url is None or not url.host or url.userinfo or not _is_port(url.port):
            raise AddressError("must be an http(s) URL.")
        try:
            host, port = url.raw_host.decode("ascii"), url.port or _SCHEMES[url.scheme]
            async with asyncio.timeout(_RESOLVE_TIMEOUT):
                ip = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, addresses.resolve, host, port)
        except (addresses.AddressError, TimeoutError):
            # One sentence, so that nobody learns which names there are in this network.
            raise AddressError("cannot be used: its host is not on the public internet.") from None
        return cls(url, ip)

    def below(self, path: str) -> "Address":
        """The address of something below this one; the query, which may have a signature, stays."""
        return Address(self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{path}"), self._ip)

    async def send(
        self, http: httpx2.AsyncClient, method: str, content: bytes, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Send a request.

        Parameters
        ----------
        http : see `client`
        method, content, headers : of the request
        seconds : maximum time
        """
        headers = {**headers, "Host": self._url.netloc.decode("ascii")}
        pinned = self._url.copy_with(host=self._ip)
        try:
            async with asyncio.timeout(seconds):
                # What is received does not matter, and may be endless.
                async with http.stream(
                    method, pinned, content=content, headers=headers, extensions={"sni_hostname": self._host}
                ) as reply:
                    problem = None if reply.is_success else f"status {reply.status_code}"
                    return Answer(problem, reply.headers.get("location", ""))
        except TimeoutError:
            return Answer(f"no answer within {seconds:g} s")
        except httpx2.HTTPError as error:
            return Answer(type(error).__name__)

    @property
    def without_query(self) -> str:
        """The address without its query."""
        return str(self._url.copy_with(query=None))

    def __str__(self) -> str:
        """The address without its path and query, which may hold secrets."""
        return f"{self._url.scheme}://{self._url.netloc.decode('ascii')}"


def _is_port(port: int | None) -> bool:
    """Whether there is such a port; None is that of the scheme."""
    return port is None or 0 < port < 65_536
