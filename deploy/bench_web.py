"""How fast pages and snapshots answer while events arrive: a store filled with weeks of many people, browsers that look on, a program that asks."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import tempfile
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pyarrow as pa

from deploy import bench, bench_report
from deploy.bench_latency import Sending, Watch
from deploy.local.stack import Stack
from exporters.access import keys
from exporters.client import Client
from exporters.store.schemas import ACCOUNTS, SIGN_INS, table
from exporters.store.store import Store
from pipeline import clock, console
from pipeline import settings as settings_module
from pipeline.errors import Unavailable
from pipeline.model.events import FAILURE_REASONS
from pipeline.model.times import iso
from pipeline.settings import Settings

DAY_MS = 86_400_000
FRESH_MS = 2 * 3_600_000  # what is newer than this lies in parts of its own
PAGES = {
    "overview": "/overview",
    "users": "/users",
    "users by bytes": "/users?sort=bytes&order=desc&window=7d",
    "users found": "/users?search=user42",
    "one user": "/users/user{n}@example.com",
    "sign-ins, 24 h": "/sign-ins?preset=24h",
    "sign-ins, 30 d failed": "/sign-ins?preset=30d&result=failure",
    "rejects": "/rejects",
    "reports": "/settings/reports",
}
THROUGH = re.compile(rb'data-complete-through="([0-9]+)"')
PAGE_PAUSE_SECONDS, API_PAUSE_SECONDS = 0.1, 0.04
READY_SECONDS = 600

Seen = dict[str, list[float]]  # milliseconds of every answer, by what was asked


def run(rate: int, seconds: int, users: int, days: int, viewers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="activity-bench-") as directory:
        home = Path(directory)
        # All of them are one person here; a hundred people would have a hundred limits.
        (home / "activity.toml").write_text("requests_per_minute = 1_000_000\n")
        rows = _fill(home, users, days)
        with Stack(home) as stack:
            settings = stack.settings()
            process = _inner(stack.child("reports").process)
            _until_ready(stack, settings)
            cookie = _sign_in(settings)
            with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as apart:
                sending = apart.submit(_send, settings, rate, seconds + 20)
                clock.pause(10)
                looking = apart.submit(_look, settings, cookie, seconds, viewers)
                before = process.cpu_times()
                pages = apart.submit(_read_pages, settings, cookie, seconds, users)
                snapshots = apart.submit(_ask_snapshots, settings, seconds)
                seen = pages.result() | snapshots.result()
                after = process.cpu_times()
                resident = process.memory_info().rss // 1_000_000
                behind = _gauge(stack.url, "activity_snapshot_behind_seconds")
                seen |= looking.result()
                sending.result()
        used = after.user + after.system - before.user - before.system
        bench.show({
            "users": users, "days": days, "rollups in the store": rows, "events per second": rate, "seconds": seconds,
            **{f"{name}, ms": _quantiles(times) for name, times in seen.items()},
            "all pages, ms": _quantiles([t for name, times in seen.items() if name in PAGES for t in times]),
            "viewers on the event stream": viewers, "snapshots behind, seconds": round(behind, 1),
            "reports CPU seconds per second": round(used / seconds, 2), "reports resident MB": resident, **bench.machine(),
        })  # fmt: skip


def _fill(home: Path, users: int, days: int) -> int:
    """Rollups and sign-ins of whole days up to last midnight, as the projector would have written them; returns how many rollups.

    Of the last hours a store has small parts, not one of weeks: a midnight that was just now would have every look read all of that one.
    """
    settings = settings_module.load(home)
    store = Store.open(settings.store_url, memory_bytes=settings.store_memory_bytes)
    midnight = (clock.now_ms() - FRESH_MS) // DAY_MS * DAY_MS
    with console.progress("filling the store", days * users) as advance:
        rows = bench_report.fill(store, users=users, days=days, start_ms=midnight - days * DAY_MS, advance=advance)
        for day in range(days):
            store.insert("sign_ins", _sign_ins(users, midnight - (day + 1) * DAY_MS))
    accounts = [(str(100_000 + n), f"user{n}@example.com", "active", "2025-01-15", n, 0) for n in range(users)]
    store.insert("accounts", table(accounts, ACCOUNTS))
    store.merge()
    store.close()
    return rows


def _sign_ins(users: int, from_ms: int) -> pa.Table:
    rows = []
    for n in range(users):
        at, email = from_ms + n * (DAY_MS // users), f"user{n}@example.com"
        reason = FAILURE_REASONS[n % 7] if n % 9 == 0 else ""
        result = "failure" if reason else "success"
        document = (
            f'{{"event_type":"authentication","event":{{"time":"{iso(at)}","action":{{"type":"client_login","result":"{result}","reason":"{reason}",'
            f'"user":{{"email":"{email}","id":"{100_000 + n}","device":{{"name":"Laptop"}}}},"client_ip":"203.0.113.9"}}}}}}'
        )
        rows.append((at, f"{from_ms:x}-{n}", n % 8, 10**9 + n, str(100_000 + n), email, "client_login", result, reason, document))  # fmt: skip
    return table(rows, SIGN_INS)


def _until_ready(stack: Stack, settings: Settings) -> None:
    headers = _token(settings)

    def ready() -> bool:
        answer = httpx.get(f"{stack.url}/api/v1/snapshots/active", headers=headers, trust_env=False, timeout=60)
        return answer.status_code == 200

    stack.wait(READY_SECONDS, "the snapshots", ready)


def _sign_in(settings: Settings) -> str:
    """The cookie of a session."""
    answer = httpx.get(Client(settings).link(), trust_env=False, timeout=60)
    assert answer.status_code == 303, answer.text
    return "; ".join(f"{name}={value}" for name, value in answer.cookies.items())


# What follows runs in processes of its own: what is measured must not wait for those who make it slow.


def _send(settings: Settings, rate: int, seconds: int) -> None:
    asyncio.run(Sending(settings, rate, Watch(settings), pace=1).run(seconds, started_ms=clock.now_ms()))


def _look(settings: Settings, cookie: str, seconds: int, viewers: int) -> Seen:
    """Browsers that show the overview, which gets its numbers whenever they change: how old these are when they come."""
    seen: list[float] = []

    async def viewer() -> None:
        async for line in Line(settings, {"Cookie": cookie}).lines("/events?window=24h"):
            if found := THROUGH.search(line):
                seen.append(clock.now_ms() - int(found[1]))  # noqa: PERF401 - kept when it is ended

    async def look() -> None:
        lookers = [asyncio.create_task(viewer()) for _ in range(viewers)]
        await asyncio.sleep(seconds)
        for looker in lookers:
            if looker.done():
                raise Unavailable("the event stream of a viewer ended") from looker.exception()
            looker.cancel()
        await asyncio.gather(*lookers, return_exceptions=True)

    asyncio.run(look())
    return {"age of viewers' numbers": seen}


def _read_pages(settings: Settings, cookie: str, seconds: int, users: int) -> Seen:
    seen: Seen = {name: [] for name in PAGES}

    async def read() -> None:
        browser, until, n = Line(settings, {"Cookie": cookie}), clock.monotonic() + seconds, 0
        while clock.monotonic() < until:
            for name, path in PAGES.items():
                n += 1
                seen[name].append(await browser.get(path.format(n=n * 37 % users)))
                await asyncio.sleep(PAGE_PAUSE_SECONDS)

    asyncio.run(read())
    return seen


def _ask_snapshots(settings: Settings, seconds: int) -> Seen:
    seen: list[float] = []

    async def ask() -> None:
        program, until = Line(settings, _token(settings)), clock.monotonic() + seconds
        windows = cycle(("24h", "7d", "30d"))
        while clock.monotonic() < until:
            seen.append(await program.get(f"/api/v1/snapshots/active?window={next(windows)}"))
            await asyncio.sleep(API_PAUSE_SECONDS)

    asyncio.run(ask())
    return {"snapshot API": seen}


class Line:
    """A connection to the service, as bare as it can be: a full client takes longer over a snapshot than the service does."""

    def __init__(self, settings: Settings, headers: dict[str, str]) -> None:
        at = urlsplit(settings.reports_url)
        self._host, self._port = at.hostname or "", at.port or 80
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": at.netloc} | headers).items())
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> float:
        """Milliseconds until the whole answer was there."""
        began = clock.monotonic()
        reader, head = await self._ask(path)
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        return (clock.monotonic() - began) * 1000

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of an answer without end, among those of its chunks."""
        reader, _ = await self._ask(path)
        while line := await reader.readline():
            yield line

    async def _ask(self, path: str) -> tuple[asyncio.StreamReader, bytes]:
        reader, writer = self._ends = self._ends or await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        writer.write(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise Unavailable(f"{path} was answered with {head.partition(bytes([13]))[0].decode()}")
        return reader, head


def _token(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.local_token(settings)}"}


def _gauge(url: str, name: str) -> float:
    lines: Iterable[str] = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def _quantiles(times: list[float]) -> str:
    ordered = sorted(times)
    if not ordered:
        return "none"
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.95, 0.99))
    return f"p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, max {ordered[-1]:.1f} (of {len(ordered)})"


def _inner(leash: Any) -> psutil.Process:
    outer = psutil.Process(leash.pid)
    return next(iter(outer.children()), outer)
