"""Pictures from other hosts, if the operator named these: nothing else is ever connected to."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Set
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import SplitResult, urljoin, urlsplit

from braid.errors import UserError

PORTS = {"http": 80, "https": 443}
REDIRECTS = 3
PATIENCE = 10.0  # seconds for the whole of it
AGENT = "braid"


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet: no loopback, private, link-local or reserved one."""
    result = ipaddress.ip_address(address)
    mapped = getattr(result, "ipv4_mapped", None)
    return (mapped or result).is_global and not (mapped or result).is_multicast


def fetch(url: str, hosts: Set[str], most: int, allowed: Callable[[str], bool] = is_public) -> bytes:
    """The bytes at ``url``.

    Every redirect is held to the same rules. A name is resolved once, all its addresses must be ``allowed``, and the
    connection is made to the address that was looked at, so that a name that changes its mind gains nothing.

    Args:
        hosts: names that may be asked, each for its scheme's own port or as ``host:port``.
        most: bytes.
    Raises:
        UserError: for another host, an address that is not allowed, too many bytes, or no picture to be had.
    """
    end = time.monotonic() + PATIENCE
    for _ in range(REDIRECTS + 1):
        parts = _checked(url, hosts)
        try:
            result = _get(parts, most, allowed, end)
        except (OSError, HTTPException):
            raise UserError(f"{parts.hostname} could not be asked for the picture; send the picture itself") from None
        if isinstance(result, bytes):
            return result
        url = urljoin(url, result)
    raise UserError(f"{parts.hostname} redirects more than {REDIRECTS} times; send the picture itself")


def _checked(url: str, hosts: Set[str]) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise UserError("that is no web address; send the picture itself, as a data URI") from None
    if parts.scheme not in PORTS or parts.username is not None:
        raise UserError("only http and https addresses without a name and password are fetched; send the picture itself")
    if (host if port in (None, PORTS[parts.scheme]) else f"{host}:{port}") not in hosts:
        named = f"only pictures of {', '.join(sorted(hosts))} are" if hosts else "no picture is"
        raise UserError(f"{named} fetched from the web by this server; send the picture itself, as a data URI")
    return parts


def _get(parts: SplitResult, most: int, allowed: Callable[[str], bool], end: float) -> bytes | str:
    """The body, or where to look instead."""
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    connection = _Pinned(host, port, _address(host, port, allowed), parts.scheme == "https", end)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": AGENT, "Accept": "image/*"})
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return str(response.getheader("Location", ""))
        if response.status != 200:
            raise UserError(f"{host} answers {response.status} when asked for the picture; send the picture itself")
        return _read(response, host, most, end)
    finally:
        connection.close()


def _address(host: str, port: int, allowed: Callable[[str], bool]) -> str:
    result = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not result or not all(map(allowed, result)):
        raise UserError(f"{host} is at a private address, which is not fetched from; send the picture itself")
    return result[0]


def _read(response: HTTPResponse, host: str, most: int, end: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(1 << 16):
        size += len(part)
        if size > most:
            raise UserError(f"the picture at {host} has more than {most:,} bytes; make it smaller")
        if time.monotonic() > end:
            raise UserError(f"{host} takes longer than {PATIENCE:g} s for the picture; send the picture itself")
        parts.append(part)
    return b"".join(parts)


class _Pinned(HTTPConnection):
    """A connection to one IP address under a host's name."""

    def __init__(self, host: str, port: int, address: str, encrypted: bool, end: float) -> None:
        super().__init__(host, port, timeout=max(0.1, end - time.monotonic()))
        self._address, self._encrypted = address, encrypted
        if encrypted:
            self.default_port = PORTS["https"]

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._encrypted:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
