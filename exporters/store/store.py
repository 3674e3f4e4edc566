"""The only door to the report store: ClickHouse SQL, embedded in this process or on a server, the URL being the only difference.

Parameters are always bound; the SQL stands in files beside this module.  One process owns an embedded store's path.
"""

from __future__ import annotations

import fcntl
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.errors import ConfigError, RequestError

QUERIES = Path(__file__).with_name("sql")
# ClickHouse refuses an insert that touches more than 100 partitions.
MONTHS_PER_INSERT = 90
MONTHLY = {"connections": "bucket", "sign_ins": "time_ms", "sign_ins_of": "time_ms"}


def _text(query: str) -> str:
    """A query file with the files that it names as parts of it: `(@name)`."""
    return re.sub(r"\(@(\w+)\)", lambda part: f"(\n{_text(part[1])})", (QUERIES / f"{query}.sql").read_text())


class _Written:
    """A text as the engine reads it.  The client would escape it one character after the other: 15 ms for the names of some thousand people."""

    def __init__(self, text: str) -> None:
        self._text = text.translate(_ESCAPES)

    def __str__(self) -> str:
        return self._text


_ESCAPES = str.maketrans({c: f"\\{c}" for c in "\\'`\t\n"})


def _bound(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: _Written(value) if isinstance(value, str) else value for name, value in parameters.items()}


class Store:
    """One client per thread: an engine's client is a locked handle."""

    def __init__(self, url: str, *, memory_bytes: int) -> None:
        self._url = url
        self._settings = {
            "max_memory_usage": memory_bytes,
            # Two groupings and a sort may be alive at once, and a spilling one needs room for what it writes.
            "max_bytes_before_external_group_by": memory_bytes // 5,
            "max_bytes_before_external_sort": memory_bytes // 5,
            # A row may hold a person's every address: with the engine's 65,409 rows a block, 1,000,000 people take 200 MB more.
            "max_block_size": 8192,
            "join_use_nulls": 0,
        }
        self._local = threading.local()
        self._lock: IO[str] | None = None
        self._queries = {p.stem: _text(p.stem) for p in QUERIES.glob("*.sql")}

    @classmethod
    def open(cls, url: str, *, memory_bytes: int) -> Store:
        """Open and, if need be, make the tables.  Raises ConfigError."""
        if urlsplit(url).scheme not in ("chdb", "http", "https", "clickhouse"):
            raise ConfigError(f"ACTIVITY_STORE={url}: give chdb:///path or http://user:password@host:8123/database")
        if urlsplit(url).scheme == "chdb" and set("?#") & set(url):
            raise ConfigError(f"{url}: the path of an embedded store cannot contain ? or #; choose another directory")
        store = cls(url, memory_bytes=memory_bytes)
        if urlsplit(url).scheme == "chdb":
            store._own(Path(urlsplit(url).path))
        try:
            client = store._client()
            for statement in store._queries["schema"].split(";\n"):
                if statement.strip():
                    client.command(statement.strip().rstrip(";"))
        except Exception as error:
            store.close()
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            remedy = (
                "delete its folder: it is rebuilt from Kafka"
                if urlsplit(url).scheme == "chdb"
                else "start that server, make the database, or correct ACTIVITY_STORE"
            )
            raise ConfigError(f"the report store cannot be opened ({text}); {remedy}") from error
        return store

    def _own(self, path: Path) -> None:
        """The engine refuses a second process too, but in words that nobody understands.  The kernel lets go of the lock when we die."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = path.with_name(path.name + ".lock").open("a")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another ACTIVITY_STORE") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigError(
                f"the report store {path} is in use by another process: an embedded store serves one reports service; "
                "stop that one, or give all of them one ClickHouse server with ACTIVITY_STORE=http://user:password@host:8123/database"
            ) from None

    def close(self) -> None:
        """Let this thread's client go; an embedded engine ends with its last one."""
        client = getattr(self._local, "client", None)
        if client is not None:
            client.close()
            del self._local.client
        if self._lock is not None:
            self._lock.close()

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows; a repeated insert changes nothing."""
        column = MONTHLY.get(table)
        if column is not None and rows.num_rows:
            for part in _by_months(rows, column):
                self._client().insert_arrow(table, part)
        elif rows.num_rows:
            self._client().insert_arrow(table, rows)

    def rows(self, query: str, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """Stream the rows of one of the query files.  Raises RequestError for one that takes too much memory."""
        with (
            self._within_memory(),
            self._client().query_rows_stream(
                self._queries[query], parameters=_bound(parameters), settings=self._settings
            ) as stream,
        ):
            yield from stream

    def run(self, statement: str, **parameters: Any) -> None:
        """Run one of the query files that answers nothing.  Raises RequestError likewise."""
        with self._within_memory():
            self._client().command(self._queries[statement], parameters=_bound(parameters), settings=self._settings)

    def merge(self) -> None:
        """Merge everything now that would be merged in time anyway, as it lies in a store of weeks."""
        for table in (*MONTHLY, "accounts"):
            self._client().command(f"OPTIMIZE TABLE {table} FINAL")

    @contextmanager
    def _within_memory(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            if "MEMORY_LIMIT_EXCEEDED" not in str(error):
                raise
            allowed = self._settings["max_memory_usage"]
            raise RequestError(
                f"this takes more memory than one question to the report store may use (ACTIVITY_STORE_MEMORY_BYTES={allowed}); "
                "ask for less, or raise it and start the reports service again"
            ) from error

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = clickhouse_connect.get_client(dsn=self._url)
        return client


def at(ms: int) -> datetime:
    """As the store takes an instant."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _by_months(rows: pa.Table, column: str) -> Iterator[pa.Table]:
    times = rows[column].cast(pa.int64())
    months = pc.divide(
        times, 28 * 24 * 3600 * (1000 if column == "time_ms" else 1)
    )  # at most one calendar month boundary each
    spread = pc.min_max(months).as_py()
    if spread["max"] - spread["min"] < MONTHS_PER_INSERT:
        yield rows
        return
    for start in range(spread["min"], spread["max"] + 1, MONTHS_PER_INSERT):
        chosen = rows.filter(pc.and_(pc.greater_equal(months, start), pc.less(months, start + MONTHS_PER_INSERT)))
        if chosen.num_rows:
            yield chosen
