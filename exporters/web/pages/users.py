"""Users: everybody, searched and sorted; and one person's page: numbers, addresses, devices, sign-ins, what became of their MFA."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from exporters.reports.columns import percent
from exporters.service import Service
from exporters.snapshots.shapes import WINDOWS, WindowName
from exporters.web import cursors, sign_ins
from exporters.web.api_numbers import newest
from exporters.web.pages.overview import NAMES
from exporters.web.users import SORTS, Order, Orders, Sort, detail, states, users
from exporters.web.views import Views

PAGE = "/users"
SHOWN = 100
HISTORY = 20
TITLES: dict[Sort, str] = {
    "email": "User",
    "last_access": "Last access",
    "connections": "Connections",
    "failed": "Failed",
    "bytes": "Bytes",
    "devices": "Devices",
}
MFA = ("mfa_setup", "mfa_reset")


def routes(service: Service, views: Views, orders: Orders) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        asked = request.query_params
        moment = service.snapshots.moment
        window: WindowName = next((w for w in WINDOWS if w == asked.get("window")), WINDOWS[-1])
        sort: Sort = next((s for s in SORTS if s == asked.get("sort")), SORTS[0])
        order: Order = "desc" if asked.get("order") == "desc" else "asc"
        chosen: dict[str, str] = {
            "search": asked.get("search", "")[:254],
            "state": asked.get("state", "")[:40],
            "window": window,
            "sort": sort,
            "order": order,
        }

        def link(**changes: str) -> str:
            return f"{PAGE}?{urlencode({k: v for k, v in (chosen | changes).items() if v})}"

        found: dict[str, Any] = {"users": [], "count": 0, "states": [], "next": "", "moment": moment}
        if moment is not None:
            after = cursors.decode(asked.get("after", "")[:4000], tuple[int, str])
            rows, place, count = users(
                moment,
                orders,
                search=chosen["search"],
                state=chosen["state"],
                window=window,
                sort=sort,
                order=order,
                after=after,
                limit=SHOWN,
            )
            more = cursors.encode(place)
            found |= {"users": rows, "count": count, "states": states(moment.everyone)}
            found["next"] = link(after=more) if more else ""
            found["first"] = link() if after else ""
        return views.page(
            request,
            "users.html",
            chosen=chosen,
            names=NAMES,
            titles=TITLES,
            link=link,
            turned="asc" if order == "desc" else "desc",
            degraded=service.unhealthy(),
            **({"first": ""} | found),
        )

    @pages.get(f"{PAGE}/{{user:path}}")
    def one(request: Request, user: str, name: str = "") -> Response:
        person = detail(service, user or name)
        p = sign_ins.parameters(service, {"preset": "30d", "user": person.user_email[:1000]})
        quarter = sign_ins.parameters(service, {"preset": "90d", "user": person.user_email[:1000]})
        lately = sign_ins.of_person(
            service, newest(service).everyone, p, limit=HISTORY, kept=MFA, kept_from_ms=quarter.from_ms
        )
        return views.page(
            request,
            "user.html",
            user=person,
            names=NAMES,
            percent=percent,
            history=[sign_ins.read(t) for t in lately.newest],
            more=lately.more,
            mfa=[sign_ins.read(t) for t in lately.kept],
            export=sign_ins.export_link(p),
            degraded=service.unhealthy(),
        )

    return pages
