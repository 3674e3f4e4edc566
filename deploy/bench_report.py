"""How long the Active Users report takes, and how much memory: an embedded store filled with days of people, the report built as the service builds it."""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from deploy.bench import ROLLUPS, USERS, Resident, machine, show
from exporters.reports.build import ACTIVE_KIND, DAY_MS, Parameters, build
from exporters.store.schemas import CONNECTIONS, table
from exporters.store.store import Store
from pipeline import clock, console
from pipeline import settings as settings_module

BUILDS = 5
START_MS = 1_767_225_600_000  # 2026-01-01, a whole day
# So many different days are made, then repeated: making rows in Python would take longer than everything else.
DIFFERENT_DAYS = 7
# People whose rows are made at once, so that making them does not take the memory that is to be measured.
AT_ONCE = 100_000


def run(days: int, users: int = USERS, rollups: int = ROLLUPS) -> None:
    settings = settings_module.load()
    process = psutil.Process()
    with tempfile.TemporaryDirectory(prefix="activity-bench-") as directory:
        home = Path(directory)
        store = Store.open(f"chdb://{home / 'store'}", memory_bytes=settings.store_memory_bytes)
        began = clock.monotonic()
        with console.progress("filling the store", days * users) as advance:
            rows = fill(store, users=users, days=days, rollups=rollups, advance=advance)
        filled = clock.monotonic() - began
        until = START_MS + days * DAY_MS
        ask = Parameters(from_ms=START_MS, to_ms=until, gzip=True)
        wall, cpu, peak = [], [], 0
        before_all = process.memory_info().rss
        for n in range(BUILDS):
            began, before = clock.monotonic(), process.cpu_times()
            with Resident(process) as resident:
                built = build(store, ACTIVE_KIND, ask, asked_at_ms=until - 1, path=home / f"report-{n}")
            after = process.cpu_times()
            wall.append(clock.monotonic() - began)
            cpu.append(after.user + after.system - before.user - before.system)
            peak = max(peak, resident.peak)
        show({
            "users": users, "days": days, "rollups": rows, "filling, seconds": round(filled, 1), "rows of the report": built.written.rows,
            "bytes of the .csv.gz": built.written.bytes, "first build, seconds": round(wall[0], 2), "median of the builds, seconds": round(statistics.median(wall), 2),
            "slowest build, seconds": round(max(wall), 2), "median CPU seconds": round(statistics.median(cpu), 2), "resident MB before": before_all // 1_000_000, "peak resident MB": peak // 1_000_000, **machine(),
        })  # fmt: skip


def fill(
    store: Store,
    *,
    users: int,
    days: int,
    rollups: int = ROLLUPS,
    start_ms: int = START_MS,
    advance: Callable[[int], None] = lambda _n: None,
) -> int:
    """The same rows each time, so many a day and user, from a midnight of UTC on; returns how many."""
    count = 0
    for first in range(0, users, AT_ONCE):
        some = range(first, min(first + AT_ONCE, users))
        templates = [_day(some, rollups, seed) for seed in range(min(days, DIFFERENT_DAYS))]
        for day in range(days):
            rows = templates[day % DIFFERENT_DAYS]
            moved = start_ms - START_MS + day * DAY_MS
            shift = pa.scalar(moved // 1000, pa.int64())
            bucket = pc.add(rows["bucket"].cast(pa.int64()), shift).cast(pa.timestamp("s", "UTC"))
            last = pc.add(rows["last_access"], pa.scalar(moved, pa.int64()))
            version = pc.add(rows["version"], pa.scalar(count, pa.uint64()))
            for name, column in (("bucket", bucket), ("last_access", last), ("version", version)):
                rows = rows.set_column(rows.schema.get_field_index(name), CONNECTIONS.field(name), column)
            store.insert("connections", rows)
            count += rows.num_rows
            advance(len(some))
    return count


def _day(users: range, rollups: int, seed: int) -> pa.Table:
    rng = random.Random(seed)  # noqa: S311 - measurements want the same rows each time
    rows: list[tuple[Any, ...]] = []
    for user in users:
        for bucket in sorted(rng.sample(range(96), rollups)):
            addresses = [
                (f"203.0.{user % 256}.{rng.randrange(24)}", rng.randrange(1, 9)) for _ in range(rng.randrange(1, 5))
            ]
            success = sum(n for _, n in addresses)
            rows.append((
                "user", str(100_000 + user), f"user{user}@example.com", START_MS // 1000 + bucket * 900, user % 8, len(rows), len(rows), 0,
                success, rng.randrange(2), rng.randrange(3), rng.randrange(10**6), rng.randrange(10**7), success // 2, success - success // 2,
                START_MS + bucket * 900_000 + rng.randrange(900_000), addresses, [f"d{user}-{rng.randrange(3)}"],
            ))  # fmt: skip
    return table(rows, CONNECTIONS)
