"""LanceDB: a database in the index's folder, or an existing one, in cloud storage or on a server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.index.local import FILE, Header, write_header
from braid.index.protocol import Hit, Origin, asked, checked, hit, needed
from braid.shapes import Float

DATABASE = "lancedb"  # the folder of the database, inside the index's folder
TOGETHER = 500  # ids per query
QUERIES = 64  # queries per scan


@dataclass(frozen=True)
class LanceDBIndexConfig:
    """One table. Searches are exact, unless the table is given an index of its own with LanceDB.

    Args:
        uri: empty for a database in the index's folder; another folder, ``s3://bucket/path``, or ``db://NAME`` on a server.
        host: the address of that server, such as ``https://vectors.example.org``; its key is read from LANCEDB_API_KEY.
        table: its name there.
    """

    kind: Literal["lancedb"] = "lancedb"
    uri: str = ""
    host: str = ""
    table: str = "vectors"

    needs: ClassVar[tuple[str, str]] = ("lancedb", "lancedb")  # the package, and the extra that installs it

    def build(self, folder: Path, header: Header) -> "LanceDBIndex":
        return LanceDBIndex(folder, header, self)


class LanceDBIndex:
    """Saves every change at once, atomically, as the next version of the table."""

    def __init__(self, folder: Path, header: Header, config: LanceDBIndexConfig) -> None:
        """Open the table, or create it if index.json does not exist yet.

        Raises:
            UserError: when the database cannot be reached, or its table is missing, exists already, or has another width.
        """
        database = needed("lancedb", "lancedb")
        self._arrow = needed("pyarrow", "lancedb")
        self.folder = folder
        self._header = header
        self._schema = self._arrow.schema(
            [
                self._arrow.field("id", self._arrow.string(), nullable=False),
                self._arrow.field("vector", self._arrow.list_(self._arrow.float32(), header.width), nullable=False),
                self._arrow.field("metadata", self._arrow.string(), nullable=False),
            ]
        )
        uri = config.uri or str(folder / DATABASE)
        self._place = f"table {config.table} of {uri}"
        self._remote = uri.startswith("db://")
        with self._told():
            opened = database.connect(uri, host_override=config.host or None)
            if (folder / FILE).exists():
                self._table = opened.open_table(config.table)
            else:
                own = not config.uri  # an existing table is left over from a process that was killed before it wrote index.json
                mode = "overwrite" if own else "create"
                self._table = opened.create_table(config.table, schema=self._schema, mode=mode)
                write_header(folder, header)
            width = getattr(self._table.schema.field("vector").type, "list_size", None)
        if width != header.width:
            raise UserError(f"{self._place} holds vectors of width {width}, index.json says {header.width}; make the index anew")

    @property
    def width(self) -> int:
        return self._header.width

    @property
    def origin(self) -> Origin:
        return self._header.model

    def __len__(self) -> int:
        with self._told():
            return int(self._table.count_rows())

    def add(self, ids: Sequence[str], vectors: Float[np.ndarray, "..."], metadata: Sequence[Any] | None = None) -> None:
        given = checked(ids, vectors, metadata, self.width)
        for name in self.known(ids):
            raise UserError(f"id {name!r} is in the index already; delete it first")
        flat = self._arrow.FixedSizeListArray.from_arrays(self._arrow.array(given.vectors.ravel()), self.width)
        columns = [self._arrow.array(given.ids), flat, self._arrow.array(given.metadata)]
        with self._told():
            self._table.add(self._arrow.table(columns, schema=self._schema))

    def delete(self, ids: Sequence[str]) -> None:
        known = self.known(ids)
        for name in ids:
            if name not in known:
                raise UserError(f"id {name!r} is not in the index; nothing was deleted")
        if known:
            with self._told():
                self._table.delete(_one_of(sorted(known)))

    def search(self, vectors: Float[np.ndarray, "..."], top: int = 10) -> list[list[Hit]]:
        queries = asked(vectors, self.width, top)
        parts = (queries[first : first + QUERIES] for first in range(0, len(queries), QUERIES))
        return [hits for part in parts for hits in self._nearest(part, top)]

    def _nearest(self, queries: np.ndarray, top: int) -> list[list[Hit]]:
        """Run all queries in one scan of the table. With several queries, a column of the result has the number of the query."""
        with self._told():
            nearest = self._table.search(list(queries), vector_column_name="vector").distance_type("cosine").limit(top)
            result = nearest.select(["id", "metadata", "_distance"]).to_arrow().sort_by("_distance").to_pydict()
        hits: list[list[Hit]] = [[] for _ in queries]
        places = result.get("query_index", [0] * len(result["id"]))
        for place, name, distance, metadata in zip(places, result["id"], result["_distance"], result["metadata"], strict=True):
            hits[place].append(hit(self._place, name, 1 - distance, metadata))
        return hits

    def save(self) -> None:
        """Merge small files of a local database; every change is already saved."""
        if not self._remote:
            with self._told():
                self._table.optimize()

    def close(self) -> None:
        """Do nothing: no file is open."""

    def known(self, ids: Sequence[str]) -> set[str]:
        there: set[str] = set()
        for first in range(0, len(ids), TOGETHER):
            part = ids[first : first + TOGETHER]
            with self._told():
                result = self._table.search().where(_one_of(part)).select(["id"]).limit(len(part)).to_arrow()
            there.update(result["id"].to_pylist())
        return there

    def rows(self) -> Iterator[tuple[str, Any]]:
        with self._told():
            result = self._table.search().select(["id", "metadata"]).limit(max(len(self), 1)).to_arrow()
        for name, metadata in zip(result["id"].to_pylist(), result["metadata"].to_pylist(), strict=True):
            one = hit(self._place, name, 0.0, metadata)
            yield one.id, one.metadata

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn LanceDB's errors, which have many types, into a ``UserError``; a panic of its library is no ``Exception``."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(f"{self._place} cannot be used ({why}); check the index's settings and the database") from None


def _one_of(ids: Sequence[str]) -> str:
    """The SQL condition for these ids."""
    return f"id IN ({', '.join(_quoted(name) for name in ids)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
