"""What moves, as server-sent events: a page learns that something changed and asks for the part it shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from exporters.service import Service

# Proxies close silent connections after a minute.
ALIVE_SECONDS = 20.0


def routes(service: Service) -> APIRouter:
    live = APIRouter()

    @live.get("/events", include_in_schema=False)
    async def events() -> StreamingResponse:
        return StreamingResponse(
            _changes(service), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return live


async def _changes(service: Service) -> AsyncIterator[str]:
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    what: set[str] = set()

    def tell(event: str) -> Callable[[], object]:
        def told() -> None:
            what.add(event)
            changed.set()

        return lambda: loop.call_soon_threadsafe(told)

    ends = [service.runs.journal.listen(tell("runs")), service.snapshots.listen(tell("numbers"))]
    try:
        yield "retry: 2000\n\n"
        while True:
            try:
                await asyncio.wait_for(changed.wait(), ALIVE_SECONDS)
            except TimeoutError:
                yield ": alive\n\n"
                continue
            changed.clear()
            news = sorted(what)
            what.clear()
            for event in news:
                yield f"event: {event}\ndata: changed\n\n"
    finally:
        for end in ends:
            end()
