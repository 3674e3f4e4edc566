"""How fast pages and snapshots answer while events arrive: a store filled with weeks of many people, browsers that look on, a program that asks."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterable
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
        rows = _fill(home, users, days)
        with Stack(home) as stack:
            settings = stack.settings()
            process = _inner(stack.child("reports").process)
            _until_ready(stack, settings)
            sending = Sending(settings, rate, Watch(settings), pace=1)
            # A little longer than what is measured, so that there is no end in it.
            sender = threading.Thread(
                target=lambda: asyncio.run(sending.run(seconds + 15, started_ms=clock.now_ms())), daemon=True
            )
            sender.start()
            clock.pause(10)
            before = process.cpu_times()
            seen = asyncio.run(_measure(settings, seconds, users, viewers))
            after = process.cpu_times()
            resident = process.memory_info().rss // 1_000_000
            behind = _gauge(stack.url, "activity_snapshot_behind_seconds")
            sender.join()
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


async def _measure(settings: Settings, seconds: int, users: int, viewers: int) -> dict[str, list[float]]:
    """Milliseconds of every answer by what was asked."""
    seen: dict[str, list[float]] = {name: [] for name in (*PAGES, "snapshot API", "viewers' numbers")}
    until = clock.monotonic() + seconds
    async with httpx.AsyncClient(
        base_url=settings.reports_url, trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None)
    ) as browser:
        answer = await browser.get(Client(settings).link())
        assert answer.status_code == 303, answer.text

        async def ask(name: str, path: str, **options: Any) -> None:
            began = clock.monotonic()
            answer = await browser.get(path, **options)
            seen[name].append((clock.monotonic() - began) * 1000)
            answer.raise_for_status()

        async def pages() -> None:
            n = 0
            while clock.monotonic() < until:
                for name, path in PAGES.items():
                    n += 1
                    await ask(name, path.format(n=n * 37 % users))
                    await asyncio.sleep(PAGE_PAUSE_SECONDS)

        async def program() -> None:
            windows = ("24h", "7d", "30d")
            while clock.monotonic() < until:
                for window in windows:
                    await ask("snapshot API", f"/api/v1/snapshots/active?window={window}", headers=_token(settings))
                    await asyncio.sleep(API_PAUSE_SECONDS)

        async def look() -> None:
            async with browser.stream("GET", "/events") as stream:
                async for line in stream.aiter_lines():
                    if clock.monotonic() > until:
                        return
                    if line == "event: numbers":
                        await ask("viewers' numbers", "/overview/numbers?window=24h")

        lookers = [asyncio.create_task(look()) for _ in range(viewers)]
        await asyncio.gather(pages(), program())
        for looker in lookers:
            looker.cancel()
        for result in await asyncio.gather(*lookers, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
    return seen


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
