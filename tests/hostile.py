"""Uploads that mean no good: each with what it is called; none may hurt a server."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from served import scene


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that says it has this size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def saved(form: str, **settings: object) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(scene(2))) as image:
        image.save(file, form, **settings)
    return file.getvalue()


def hostile_uploads(number: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``number`` of them: truncated, bombs, huge, polyglots, of a wrong type, and damaged at random."""
    chance = random.Random(seed)
    whole = {form: saved(form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")}
    fixed = [
        ("empty", b""),
        ("text", b"hello"),
        ("bomb of 3 gigapixels", png(60_000, 50_000)),
        ("bomb within the limit of Pillow", png(12_000, 9_000, b"\0" * 60_000_000)),
        ("bomb that lies low", png(5_000, 5_000, b"\0" * 75_005_000)),
        ("no pixels", png(0, 0)),
        ("negative size", png(2**32 - 1, 1)),
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
        ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run showpage\n"),
        ("PDF", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n"),
        ("zip", b"PK\x03\x04" + bytes(60)),
        ("polyglot of GIF and script", b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)"),
        ("polyglot of JPEG and zip", whole["JPEG"] + b"PK\x03\x04" + bytes(200)),
        ("polyglot of PNG and page", whole["PNG"] + b"<script>alert(1)</script>"),
        ("program", b"\x7fELF" + bytes(200)),
        (
            "GIF of many frames",
            saved("GIF", save_all=True, append_images=[Image.new("RGB", (96, 96), (n, 0, 0)) for n in range(60)]),
        ),
        (
            "text chunk that expands",
            png(8, 8, bytes(8 * 25))[:-12] + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 50_000_000)) + chunk(b"IEND", b""),
        ),
    ]
    yield from fixed[:number]
    for _ in range(number - len(fixed)):
        form, data = chance.choice(list(whole.items()))
        if chance.random() < 0.4:
            yield f"truncated {form}", data[: chance.randrange(len(data))]
        else:
            damaged = bytearray(data)
            for _ in range(chance.randrange(1, 40)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            yield f"damaged {form}", bytes(damaged)
