"""Overview: the rolling windows side by side, bars of hours and days, who used the network most, and how fresh all that is."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND
from exporters.reports.columns import percent
from exporters.service import Service
from exporters.snapshots.shapes import WINDOWS, WindowName
from exporters.snapshots.snapshotter import Moment, behind_seconds
from exporters.web import charts
from exporters.web.views import Views, zone_of
from pipeline import clock

PAGE = "/overview"
SHOWN_SPEAKERS = 12
# Whoever asks within the same seconds sees the same numbers, unless they have changed; so many zones and windows are kept.
SAME_MS = 5000
KEPT = 64
NAMES: dict[str, str] = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}


class Numbers:
    """The part that moves, made once for all who look at the same moment.  Nothing in it is anybody's own.  Used in the event loop."""

    def __init__(self, service: Service, views: Views) -> None:
        self._service = service
        self._views = views
        self._made: OrderedDict[tuple[Any, ...], asyncio.Task[str]] = OrderedDict()

    async def of(self, request: Request) -> str:
        """In the window and the zone of a request, in one line.  It is made in a thread; whoever comes meanwhile waits for it without holding another one."""
        moment = self._service.snapshots.moment
        about = moment.version if moment else 0, zone_of(request), window_of(request), clock.now_ms() // SAME_MS
        task = self._made.get(about)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._made[about] = asyncio.create_task(run_in_threadpool(self._make, request))
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return await asyncio.shield(task)  # one who goes away takes nothing from the others

    def _make(self, request: Request) -> str:
        text = self._views.text(request, "_overview.html", percent=percent, **self._shown(request))
        return " ".join(text.splitlines())  # here once, and not for each stream that it goes down

    def _shown(self, request: Request) -> dict[str, Any]:
        service, moment = self._service, self._service.snapshots.moment
        common = {
            "names": NAMES,
            "window": window_of(request),
            "degraded": service.unhealthy(),
            "redis": service.snapshots.redis,
            "lost": service.projector.lost(),
            "silence": silence(service),
        }
        if moment is None:
            return common | {"moment": None}
        return common | {
            "moment": moment,
            "behind": behind_seconds(moment),
            "edges": {w: moment.snapshots[ACTIVE_KIND, w].head for w in WINDOWS},
            "active": {w: moment.snapshots[ACTIVE_KIND, w].head.totals for w in WINDOWS},
            "sign_ins": {w: moment.snapshots[AUTHENTICATION_KIND, w].head.totals for w in WINDOWS},
            "charts": bars(moment, zone_of(request)),
        }


def routes(views: Views, numbers: Numbers) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    @pages.get("/")
    def home() -> Response:
        return RedirectResponse(PAGE, 303)

    @pages.get(PAGE)
    async def page(request: Request) -> Response:
        shared = Markup(await numbers.of(request))  # noqa: S704 - a template made it
        return await run_in_threadpool(views.page, request, "overview.html", window=window_of(request), part=shared)

    @pages.get(f"{PAGE}/numbers")
    async def part(request: Request) -> Response:
        return views.answer(await numbers.of(request))

    return pages


def window_of(request: Request) -> WindowName:
    asked = request.query_params.get("window")
    return next((w for w in WINDOWS if w == asked), WINDOWS[0])


def silence(service: Service) -> dict[str, Any]:
    """Who was heard last when: the silent ones and as many others as there is room for."""
    found = service.listener.speakers()
    quiet = sum(silent for _, silent in found)
    shown = found[: max(SHOWN_SPEAKERS, quiet)]
    return {
        "speakers": shown,
        "more": len(found) - len(shown),
        "limit_ms": round(service.settings.silence_minutes * 60_000),
    }


def bars(moment: Moment, zone: str) -> list[charts.Chart]:
    """Connections by the hour and by the day, sign-ins by the day."""
    week, month = (moment.snapshots[ACTIVE_KIND, w].head for w in ("7d", "30d"))
    hours = charts.hours(week.from_ms, week.to_ms, zone)
    days = charts.days(month.from_ms, month.to_ms, zone)
    connections = [(q * 1000, c.success, c.dns + c.other) for q, c in moment.connections.items()]
    sign_ins = [
        (
            q * 1000,
            sum(n for (_, result, _), n in outcomes.items() if result == "success"),
            sum(n for (_, result, _), n in outcomes.items() if result != "success"),
        )
        for q, outcomes in moment.sign_ins.items()
    ]
    failed = ("successful", "failed")
    return [
        charts.draw("hours", "Connections per hour, 7 days", hours, connections, failed),
        charts.draw("days", "Connections per day, 30 days", days, connections, failed),
        charts.draw("sign-ins", "Sign-ins per day, 30 days", days, sign_ins, failed),
    ]
