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
from exporters.snapshots.snapshotter import Snapshotter
from exporters.web.gate import person_of, who
from exporters.web.pages.overview import Numbers

# Proxies close silent connections after a minute.
ALIVE_SECONDS = 20.0
# Numbers change for everybody at once; they are sent to one after the other within so long.
SPREAD_SECONDS = 1.0
GOLDEN = 0.618034


class Spread:
    """New numbers, told to one viewer after the other: to a hundred at once, every other answer would wait for all of them.  Used in the event loop."""

    def __init__(self, snapshots: Snapshotter) -> None:
        self._snapshots = snapshots
        self._turns = itertools.count()
        self._viewers: list[tuple[float, Callable[[], object]]] = []
        self._end: Callable[[], None] = lambda: None

    def listen(self, told: Callable[[], object]) -> Callable[[], None]:
        """Have `told` called, in the event loop, after every change; the answer ends that."""
        viewer = (next(self._turns) * GOLDEN % 1 * SPREAD_SECONDS, told)
        if not self._viewers:
            loop = asyncio.get_running_loop()
            self._end = self._snapshots.listen(lambda: loop.call_soon_threadsafe(self._tell, loop))
        self._viewers.append(viewer)

        def end() -> None:
            self._viewers.remove(viewer)
            if not self._viewers:
                self._end()

        return end

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        for turn, told in self._viewers:
            loop.call_later(turn, told)


def routes(service: Service, numbers: Numbers) -> APIRouter:
    live, spread = APIRouter(), Spread(service.snapshots)

    @live.get("/events", include_in_schema=False)
    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(
            _changes(service, numbers, spread, request),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    return live


async def _changes(service: Service, numbers: Numbers, spread: Spread, request: Request) -> AsyncIterator[str]:
    """`?window=` is that of an overview.  The stream ends when its person may not look any longer."""
    person, overview = person_of(request), "window" in request.query_params
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    what: set[str] = set()
    far: dict[str, Progress] = {}  # the newest word on each run that is being made

    def tell(event: str) -> None:
        what.add(event)
        changed.set()

    def on_progress(progress: Progress) -> None:
        far[progress.run] = progress
        changed.set()

    ends = [
        service.runs.journal.listen(lambda: loop.call_soon_threadsafe(tell, "runs")),
        service.watch.listen(lambda p: loop.call_soon_threadsafe(on_progress, p)),
    ]
    if overview:
        ends.append(spread.listen(lambda: tell("overview")))
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
