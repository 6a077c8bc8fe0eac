"""Indexes on disk: vectors with metadata, searched by cosine. One protocol, one file per kind."""

from pathlib import Path

from braid.config import from_dict, to_dict
from braid.errors import UserError
from braid.index.exact import ExactIndexConfig
from braid.index.hnsw import HnswIndexConfig
from braid.index.lancedb import DATABASE, LanceDBIndexConfig
from braid.index.local import FILE, REVISION, Header, read_header
from braid.index.protocol import Hit, Index, Origin, needed

IndexConfig = ExactIndexConfig | HnswIndexConfig | LanceDBIndexConfig

BEGUN = (REVISION, DATABASE, ".braid-")  # left behind when the creation of an index was killed before index.json was written

__all__ = [
    "ExactIndexConfig",
    "Hit",
    "HnswIndexConfig",
    "Index",
    "IndexConfig",
    "LanceDBIndexConfig",
    "Origin",
    "check_origin",
    "create_index",
    "needed",
    "open_index",
]


def create_index(folder: Path, config: IndexConfig, width: int, model: Origin) -> Index:
    """Create an empty index for vectors of size ``width`` from ``model``. A local one is in ``folder`` after its first ``save``.

    Raises:
        UserError: when ``folder`` already exists, or the package for this kind is not installed.
    """
    if folder.exists() and not (folder.is_dir() and all(file.name.startswith(BEGUN) for file in folder.iterdir())):
        what = "an index" if (folder / FILE).exists() else "something"
        raise UserError(f"there is {what} at {folder} already; choose another place, or remove it first")
    return config.build(folder, Header(width, model, to_dict(config)))


def check_origin(folder: Path, maker: Origin, model: Origin) -> None:
    """Check that a model may use an index: only vectors of the same model can be compared.

    Raises:
        UserError: when ``model`` is not the ``maker`` of the vectors in the index at ``folder``.
    """
    if maker != model:
        raise UserError(
            f"{folder} was made by model {maker}, not by {model}; search with the model that made it, or make it anew"
        )


def open_index(folder: Path, model: Origin | None = None) -> Index:
    """Open an index. ``model`` is the model that will search it or add to it.

    Raises:
        UserError: when the index is missing, cut, damaged, of another format, or made by another model.
    """
    while True:
        header = read_header(folder)
        if model is not None:
            check_origin(folder, header.model, model)
        config: IndexConfig = from_dict(IndexConfig, header.index, f"{folder / FILE}: index")
        try:
            return config.build(folder, header)
        except FileNotFoundError as error:
            if read_header(folder) == header:  # otherwise another process has saved the next revision
                raise UserError(f"{error.filename or error} is missing; copy the index again, or make it anew") from None
