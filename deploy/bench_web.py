"""How fast pages and snapshots answer while events arrive: a store filled with weeks of many people, browsers that look on, a program that asks."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import tempfile
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa

from deploy import bench, bench_report
from deploy.bench_latency import Sending, Watch
from deploy.local.stack import Stack
from exporters.access import keys
from exporters.client import Client
from exporters.store.schemas import ACCOUNTS, SIGN_INS
from exporters.store.store import Store
from pipeline import clock, console
from pipeline import settings as settings_module
from pipeline.errors import Unavailable
from pipeline.model.events import FAILURE_REASONS
from pipeline.model.times import iso
from pipeline.settings import Settings

DAY_MS = 86_400_000
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
PAGE_PAUSE_SECONDS, API_PAUSE_SECONDS = 0.1, 0.04
READY_SECONDS = 600


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
            # Processes of their own: what is measured must not wait for those who make it slow.
            apart = multiprocessing.get_context("spawn")
            sending, looking, numbers = apart.Event(), apart.Event(), apart.Queue()
            # A little longer than what is measured, so that there is no end in it.
            others = (
                apart.Process(target=_send, args=(settings, rate, seconds + 15, sending), daemon=True),
                apart.Process(target=_look, args=(settings, seconds + 10, viewers, looking, numbers), daemon=True),
            )
            for other, begun in zip(others, (sending, looking), strict=True):
                other.start()
                if not begun.wait(READY_SECONDS):
                    raise Unavailable("those who send events or look on did not begin")
            clock.pause(10)
            before = process.cpu_times()
            seen = asyncio.run(_measure(settings, seconds, users))
            after = process.cpu_times()
            resident = process.memory_info().rss // 1_000_000
            behind = _gauge(stack.url, "activity_snapshot_behind_seconds")
            try:
                seen["viewers' numbers"] = numbers.get(timeout=60)
            except queue.Empty:
                raise Unavailable("those who look on ended before their time; what they said stands above") from None
            for other in others:
                other.join()
        used = after.user + after.system - before.user - before.system
        bench.show({
            "users": users, "days": days, "rollups in the store": rows, "events per second": rate, "seconds": seconds,
            **{f"{name}, ms": _quantiles(times) for name, times in seen.items()},
            "all pages, ms": _quantiles([t for name, times in seen.items() if name in PAGES for t in times]),
            "viewers on the event stream": viewers, "snapshots behind, seconds": round(behind, 1),
            "reports CPU seconds per second": round(used / seconds, 2), "reports resident MB": resident, **bench.machine(),
        })  # fmt: skip


def _fill(home: Path, users: int, days: int) -> int:
    """Rollups and sign-ins of whole days up to last midnight, as the projector would have written them."""
    settings = settings_module.load(home)
    store = Store.open(settings.store_url, memory_bytes=settings.store_memory_bytes)
    midnight = clock.now_ms() // DAY_MS * DAY_MS
    with console.progress("filling the store", days) as advance:
        rows = bench_report.fill(store, users=users, days=days, start_ms=midnight - days * DAY_MS, advance=advance)
        for day in range(days):
            store.insert("sign_ins", _sign_ins(users, midnight - (day + 1) * DAY_MS))
    accounts = [(str(100_000 + n), f"user{n}@example.com", "active", "2025-01-15", n, 0) for n in range(users)]
    store.insert("accounts", _table(accounts, ACCOUNTS))
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
    return _table(rows, SIGN_INS)


def _table(rows: list[tuple[Any, ...]], schema: Any) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _until_ready(stack: Stack, settings: Settings) -> None:
    headers = _token(settings)

    def ready() -> bool:
        answer = httpx.get(f"{stack.url}/api/v1/snapshots/active", headers=headers, trust_env=False, timeout=60)
        return answer.status_code == 200

    stack.wait(READY_SECONDS, "the snapshots", ready)


def _send(settings: Settings, rate: int, seconds: int, begun: Any) -> None:
    sending = Sending(settings, rate, Watch(settings), pace=1)
    begun.set()
    asyncio.run(sending.run(seconds, started_ms=clock.now_ms()))


def _look(settings: Settings, seconds: int, viewers: int, begun: Any, numbers: Any) -> None:
    """Browsers that show the overview, which asks for its numbers whenever they change."""
    seen: list[float] = []

    async def viewer(browser: httpx.AsyncClient) -> None:
        async with browser.stream("GET", "/events") as stream:
            async for line in stream.aiter_lines():
                if line == "event: numbers":
                    seen.append(await _timed(browser, "/overview/numbers?window=24h"))  # noqa: PERF401 - kept when it is ended

    async def look() -> None:
        async with _client(settings) as browser:
            await _sign_in(browser, settings)
            lookers = [asyncio.create_task(viewer(browser)) for _ in range(viewers)]
            begun.set()
            await asyncio.wait(lookers, timeout=seconds) if lookers else await asyncio.sleep(seconds)
            if any(looker.done() for looker in lookers):
                raise Unavailable("a stream of events ended")
            for looker in lookers:
                looker.cancel()
            await asyncio.gather(*lookers, return_exceptions=True)

    asyncio.run(look())
    numbers.put(seen)


async def _measure(settings: Settings, seconds: int, users: int) -> dict[str, list[float]]:
    """Milliseconds of every answer by what was asked."""
    seen: dict[str, list[float]] = {name: [] for name in (*PAGES, "snapshot API")}
    until = clock.monotonic() + seconds
    async with _client(settings) as browser:
        await _sign_in(browser, settings)

        async def pages() -> None:
            n = 0
            while clock.monotonic() < until:
                for name, path in PAGES.items():
                    n += 1
                    seen[name].append(await _timed(browser, path.format(n=n * 37 % users)))
                    await asyncio.sleep(PAGE_PAUSE_SECONDS)

        async def program() -> None:
            windows, headers = cycle(("24h", "7d", "30d")), _token(settings)
            while clock.monotonic() < until:
                path = f"/api/v1/snapshots/active?window={next(windows)}"
                seen["snapshot API"].append(await _timed(browser, path, headers=headers))
                await asyncio.sleep(API_PAUSE_SECONDS)

        await asyncio.gather(pages(), program())
    return seen


def _client(settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=settings.reports_url, trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None)
    )


async def _sign_in(browser: httpx.AsyncClient, settings: Settings) -> None:
    answer = await browser.get(Client(settings).link())
    assert answer.status_code == 303, answer.text


async def _timed(browser: httpx.AsyncClient, path: str, **options: Any) -> float:
    """Milliseconds until the whole answer was there."""
    began = clock.monotonic()
    answer = await browser.get(path, **options)
    answer.raise_for_status()
    return (clock.monotonic() - began) * 1000


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
