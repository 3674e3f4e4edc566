"""What moves, as server-sent events: a page learns that something changed and asks for the part it shows."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from exporters.access.people import Person
from exporters.reports.progress import Progress
from exporters.service import Service
from exporters.web.gate import person_of

# Proxies close silent connections after a minute.
ALIVE_SECONDS = 20.0
# Numbers change for everybody at once; their pages ask for them one after the other within so long.
SPREAD_SECONDS = 1.0
GOLDEN = 0.618034
_turns = itertools.count()


def routes(service: Service) -> APIRouter:
    live = APIRouter()

    @live.get("/events", include_in_schema=False)
    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(
            _changes(service, person_of(request)), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return live


async def _changes(service: Service, person: Person) -> AsyncIterator[str]:
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
        service.snapshots.listen(tell("numbers")),
        service.watch.listen(lambda p: loop.call_soon_threadsafe(on_progress, p)),
    ]
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
            if news == ["numbers"]:
                await asyncio.sleep(turn)
            for event in news:
                yield f"event: {event}\ndata: changed\n\n"
            said = list(far.values())
            far.clear()
            for progress in said:
                run = service.runs.get(progress.run)
                if run is not None and (person.is_admin or run.by == person.name):
                    yield f"event: progress\ndata: {msgspec.json.encode(progress).decode()}\n\n"
    finally:
        for end in ends:
            end()
