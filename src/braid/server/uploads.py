"""Converts a file from a client to bytes, and prepares it for a model; each file alone, before it is batched.

Files are only fetched from hosts that the operator allowed; no other connection is ever made.
"""

import base64
import binascii
import io
import ipaddress
import re
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Set
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from PIL import Image, UnidentifiedImageError

from braid.errors import UserError
from braid.modalities import InputModality
from braid.modalities.image import FORMATS

# The type may be left out, and parameters come before "base64"; browsers write codecs=vp8,opus without quotes. It never goes
# back, so that it takes no time on purpose.
_DATA = re.compile(
    r'data:(?:[\w.+-]++/[\w.+*-]++)?(?:\s*+;\s*+[\w.+-]++=(?:"[^"]*+"|[^;,"]*+(?:,[\w.]++(?=[;,]))*+))*+\s*+;\s*+base64\s*+,',
    re.ASCII | re.IGNORECASE,
)
URL_SAFE = str.maketrans("-_", "+/")

# Braid checks the size itself, with its own message. The filter is set once, because threads share it.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Uploads:
    """Prepares clients' files for a model.

    Args:
        pixels: maximum pixels of an image.
        fetch: returns the bytes at a web address, or raises ``UserError``.
    """

    pixels: int
    fetch: Callable[[str], bytes]

    def encoded(self, given: str | bytes, field: str = "image") -> bytes:
        """The bytes of a file, given as a data URI, plain base64, a web address, or bytes.

        Raises:
            UserError: when it is none of these, or may not be fetched.
        """
        if isinstance(given, bytes):
            return given
        given = given.strip()
        if re.match(r"https?://", given, re.IGNORECASE):
            return self.fetch(given)
        if given[:5].lower() == "data:":
            header = _DATA.match(given)
            if not header:
                raise UserError("the data URI is not of the form data:image/png;base64,...")
            given = unquote(given[header.end() :])
        elif re.match(r"[\w.+-]+:", given):
            raise UserError(f"{field} must be a data URI, base64, or an http address; other addresses are not read")
        return _decoded(given, field)

    def prepared(self, encoded: bytes, field: str, modality: InputModality) -> Any:
        """Prepare a file for a model.

        Raises:
            UserError: when the file is damaged, of another format, or too large.
        """
        if any(str(one.get("accept", "")).startswith("image/") for one in modality.config.fields()):
            self._check_image(encoded, field)
        return modality.prepare(encoded, f"the {field}")

    def _check_image(self, encoded: bytes, field: str) -> None:
        """Check format and size from the file's header, before anything is decoded."""
        try:
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                width, height = image.size
        except UnidentifiedImageError:
            known = "JPEG, PNG, WebP, GIF, BMP or TIFF"
            raise UserError(f"the {field} is not a file of {known}, or is cut short; save it as PNG or JPEG") from None
        except Image.DecompressionBombError:
            raise UserError(self._too_large(field, "far")) from None
        except Exception as error:
            raise UserError(f"the {field} is damaged ({type(error).__name__}); save it as PNG or JPEG") from None
        if width * height > self.pixels:
            raise UserError(self._too_large(field, f"with {width} x {height}"))

    def _too_large(self, field: str, how: str) -> str:
        return f"the {field} is too large, {how} beyond {self.pixels / 1e6:g} megapixels; make it smaller"


def _decoded(given: str, field: str) -> bytes:
    """The bytes of base64: with + and / or with - and _, over several lines, with or without padding.

    Raises:
        UserError: when it is none, or empty.
    """
    text = "".join(given.split()).translate(URL_SAFE)
    if not text:
        raise UserError(f"{field} is empty; send the bytes of a file as base64")
    spaces = " " in given.strip()
    try:
        return base64.b64decode(text if spaces else text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        if spaces and re.fullmatch(r"[A-Za-z0-9+/]++=*+", text):
            raise UserError(f"{field} is base64 with spaces, as a form makes of +; send + as %2B, or send JSON") from None
        raise UserError(f"{field} is not base64; send a data URI (data:image/png;base64,...) or base64 alone") from None


PORTS = {"http": 80, "https": 443}
REDIRECTS = 3
PATIENCE = 10.0  # seconds for the whole download
AGENT = "braid"


def is_public(address: str) -> bool:
    """Whether an IP address is public: not a loopback, private, link-local or reserved address."""
    result = ipaddress.ip_address(address)
    mapped = getattr(result, "ipv4_mapped", None)
    return (mapped or result).is_global and not (mapped or result).is_multicast


def fetch(url: str, hosts: Set[str], most: int, allowed: Callable[[str], bool] = is_public) -> bytes:
    """Fetch the bytes at ``url``.

    The same rules apply to every redirect. A name is resolved once, all its addresses must be ``allowed``, and the connection
    is made to the checked address. This prevents DNS rebinding.

    Args:
        hosts: allowed hosts: a name (for the scheme's default port), or ``host:port``.
        most: maximum bytes.
    Raises:
        UserError: for another host, an address that is not allowed, too many bytes, or a failed download.
    """
    end = time.monotonic() + PATIENCE
    for _ in range(REDIRECTS + 1):
        parts = _checked(url, hosts)
        try:
            result = _get(parts, most, allowed, end)
        except (OSError, HTTPException):
            raise UserError(f"{parts.hostname} could not be reached; send the file itself") from None
        if isinstance(result, bytes):
            return result
        url = urljoin(url, result)
    raise UserError(f"{parts.hostname} redirects more than {REDIRECTS} times; send the file itself")


def _checked(url: str, hosts: Set[str]) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise UserError("that is not a web address; send the file itself, as a data URI") from None
    if parts.scheme not in PORTS or parts.username is not None:
        raise UserError("only http and https addresses without a name and password are fetched; send the file itself")
    if (host if port in (None, PORTS[parts.scheme]) else f"{host}:{port}") not in hosts:
        named = f"only files of {', '.join(sorted(hosts))} are" if hosts else "no file is"
        raise UserError(f"{named} fetched from the web by this server; send the file itself, as a data URI")
    return parts


def _get(parts: SplitResult, most: int, allowed: Callable[[str], bool], end: float) -> bytes | str:
    """The body, or the location of a redirect."""
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    connection = _Pinned(host, port, _address(host, port, allowed), parts.scheme == "https", end)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": AGENT, "Accept": "*/*"})
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return str(response.getheader("Location", ""))
        if response.status != 200:
            raise UserError(f"{host} answered {response.status}; send the file itself")
        return _read(response, host, most, end)
    finally:
        connection.close()


def _address(host: str, port: int, allowed: Callable[[str], bool]) -> str:
    result = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not result or not all(map(allowed, result)):
        raise UserError(f"{host} is at a private address, which is not fetched from; send the file itself")
    return result[0]


def _read(response: HTTPResponse, host: str, most: int, end: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(1 << 16):
        size += len(part)
        if size > most:
            raise UserError(f"the file at {host} has more than {most:,} bytes; make it smaller")
        if time.monotonic() > end:
            raise UserError(f"{host} takes longer than {PATIENCE:g} s; send the file itself")
        parts.append(part)
    return b"".join(parts)


class _Pinned(HTTPConnection):
    """A connection to a fixed IP address, with the name of a host."""

    def __init__(self, host: str, port: int, address: str, encrypted: bool, end: float) -> None:
        super().__init__(host, port, timeout=max(0.1, end - time.monotonic()))
        self._address, self._encrypted = address, encrypted
        if encrypted:
            self.default_port = PORTS["https"]

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._encrypted:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
