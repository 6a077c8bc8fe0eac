"""braid serve: models behind an HTTP API and a page."""

import os
from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_text
from braid.errors import UserError
from braid.files.text import read_lines

DEFAULT = ("small", "sentiment", "sounds", "speech", "imagine")
WORKERS = min(2, os.cpu_count() or 1)  # a second worker halves the time for many clients, if there is a second core
LOCAL = ("localhost", "127.0.0.1", "::1")


def serve(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models; or give them by --model.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A built-in name, a folder, or NAME=FOLDER; several serve several. Default: all built-in ones."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 listens on every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    index: Annotated[Path | None, typer.Option(help="The index to search, which `braid index` made.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="Require a key from this file, one a line.")] = None,
    fetch_host: Annotated[list[str] | None, typer.Option(help="Allow images to be fetched from this host. Repeatable.")] = None,
    max_body: Annotated[float, typer.Option(min=0.001, help="Megabytes of one request.")] = 16,
    max_pixels: Annotated[float, typer.Option(min=0.001, help="Megapixels of one image.")] = 32,
    max_items: Annotated[int, typer.Option(min=1, max=1024, help="Items (images, questions, texts) of one request.")] = 64,
    max_queue: Annotated[int, typer.Option(min=1, help="Items that wait for a model; more are refused (429).")] = 256,
    max_batch: Annotated[int, typer.Option(min=1, help="Items that a model answers at once.")] = 8,
    workers: Annotated[int, typer.Option(min=1, help="Threads that run one model.")] = WORKERS,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 30,
    max_decoding: Annotated[float, typer.Option(min=0.1, help="Seconds that decoding one clip may take.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print the address as one JSON object.")] = False,
) -> None:
    """Serve models: an HTTP API for OpenAI clients, a page to try them, and metrics for Prometheus.

    By default it listens on this machine alone. The log is JSON on stderr and holds nothing from requests.

    Examples:

        braid serve

        braid serve --model small --model shapes=runs/shapes --index photos.index --port 8080

        braid serve --host 0.0.0.0 --api-key-file keys.txt
    """
    # Before any runtime is imported: workers that all use every core slow each other down.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

    from braid.server import Access, Limits
    from braid.server.app import serve as run

    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host  # as addresses write IPv6
    names = [*(words or []), *(model or [])] or list(DEFAULT)
    keys = _keys(api_key_file) if api_key_file is not None else ()
    limits = Limits(
        body=round(max_body * 1e6),
        received=round(max(16 * max_body, 1) * 1e6),
        pixels=round(max_pixels * 1e6),
        items=min(max_items, max_queue),
        queue=max_queue,
        batch=max_batch,
        timeout=timeout,
        decoding=max_decoding,
        workers=workers,
    )
    access = Access(keys, host in LOCAL, frozenset(name.lower() for name in fetch_host or ()))

    def started(address: str) -> None:
        if not access.local and not keys:
            note(f"anybody who can reach {address} can use this server; --api-key-file FILE asks for a key")
        if json:
            print_json({"url": address, "models": names})
        else:
            print_text(f"Braid serves {', '.join(names)} at {address} (the page: {address}/); Ctrl-C stops it")

    run(names, host, port, index, access, limits, started)


def _keys(file: Path) -> tuple[bytes, ...]:
    try:
        lines = [key for line in read_lines(file) for key in line.split()]
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{file} is no text file with API keys; write one key a line into it") from None
    if not lines:
        raise UserError(f"{file} holds no API key; write one a line into it")
    return tuple(line.encode() for line in lines)
