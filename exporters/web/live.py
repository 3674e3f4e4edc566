"""What moves, as server-sent events: the overview gets its new numbers, a page of runs learns that it has to ask for them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from exporters.reports.progress import Progress
from exporters.service import Service
from exporters.web.gate import person_of, who
from exporters.web.pages.overview import Numbers

# Proxies close silent connections after a minute.
ALIVE_SECONDS = 20.0
# Numbers change for everybody at once; they are sent to one after the other within so long.
SPREAD_SECONDS = 1.0
GOLDEN = 0.618034
_turns = itertools.count()


def routes(service: Service, numbers: Numbers) -> APIRouter:
    live = APIRouter()

    @live.get("/events", include_in_schema=False)
    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(
            _changes(service, numbers, request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return live


async def _changes(service: Service, numbers: Numbers, request: Request) -> AsyncIterator[str]:
    """`?window=` is that of an overview.  The stream ends when its person may not look any longer."""
    person, overview = person_of(request), "window" in request.query_params
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    turn = next(_turns) * GOLDEN % 1 * SPREAD_SECONDS
    what: set[str] = set()
    far: dict[str, Progress] = {}  # the newest word on each run that is being made

    def tell(event: str) -> Callable[[], object]:
        def told() -> None:
            what.add(event)
            changed.set()

        return lambda: loop.call_soon_threadsafe(told)

    def on_progress(progress: Progress) -> None:
        far[progress.run] = progress
        changed.set()

    ends = [
        service.runs.journal.listen(tell("runs")),
        service.watch.listen(lambda p: loop.call_soon_threadsafe(on_progress, p)),
    ]
    if overview:
        ends.append(service.snapshots.listen(tell("overview")))
    try:
        yield "retry: 2000\n\n"
        while True:
            try:
                await asyncio.wait_for(changed.wait(), ALIVE_SECONDS)
            except TimeoutError:
                if overview:  # its numbers are older now
                    what.add("overview")
                yield ": alive\n\n"
            changed.clear()
            news = sorted(what)
            what.clear()
            if news == ["overview"]:
                await asyncio.sleep(turn)
            if who(service, request) != person:
                return
            for event in news:
                data = await numbers.of(request) if event == "overview" else "changed"
                yield f"event: {event}\ndata: {data}\n\n"
            said = list(far.values())
            far.clear()
            for progress in said:
                run = service.runs.get(progress.run)
                if run is not None and (person.is_admin or run.by == person.name):
                    yield f"event: progress\ndata: {msgspec.json.encode(progress).decode()}\n\n"
    finally:
        for end in ends:
            end()
