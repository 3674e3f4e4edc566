"""The API of people: users with their rolling numbers, one user, sign-ins as the report has them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError

from exporters.service import Service
from exporters.snapshots.shapes import WindowName
from exporters.web import cursors, sign_ins
from exporters.web.api import answer
from exporters.web.api_numbers import Limit, Window, newest
from exporters.web.contract import JSON, says
from exporters.web.cursors import After
from exporters.web.users import Order, Orders, Sort, User, UserDetail, detail, users


class UserList(msgspec.Struct):
    """Users of the directory and everybody seen in an event; `count` how many there are in all pages, `complete_through` as in snapshots."""

    window: WindowName
    count: int
    complete_through: int | None
    users: list[User]
    next: str | None = None


class SignIn(msgspec.Struct):
    """One event as the Authentication Events report holds it: the original with all its fields, in the envelope."""

    event_type: str
    event: dict[str, Any]


class SignInList(msgspec.Struct):
    """Sign-ins of [from_ms, to_ms), newest first; `count` how many there are in all pages."""

    from_ms: int
    to_ms: int
    count: int
    sign_ins: list[SignIn]
    next: str | None = None


def routes(service: Service, orders: Orders) -> APIRouter:
    api = APIRouter()

    @api.get(
        "/api/v1/users",
        **says(
            UserList,
            422,
            example="""
page = api.get("/api/v1/users", params={"sort": "bytes", "order": "desc", "limit": 10}).json()
user = page["users"][0]["user_email"]
""",
        ),
    )
    def listed(
        search: Annotated[str, Query(max_length=254, description="Part of an e-mail or id, in any case")] = "",
        state: Annotated[
            str, Query(max_length=40, description="Only accounts in this state; `none`: not in the directory")
        ] = "",
        window: Window = "30d",
        sort: Annotated[Sort, Query(description="By what")] = "email",
        order: Annotated[Order, Query(description="Which way")] = "asc",
        limit: Limit = 100,
        after: After = "",
    ) -> Response:
        """Everybody: the directory's accounts and whoever was seen, with numbers of a rolling window."""
        moment = newest(service)
        found, place, count = users(
            moment,
            orders,
            search=search,
            state=state,
            window=window,
            sort=sort,
            order=order,
            after=cursors.decode(after, tuple[int, str]),
            limit=limit,
        )
        return answer(UserList(window, count, moment.complete_through, found, cursors.encode(place)))

    @api.get(
        "/api/v1/users/{user:path}",
        **says(UserDetail, 404, 422, example='numbers = api.get(f"/api/v1/users/{user}").json()["windows"]["7d"]'),
    )
    def one(user: Annotated[str, Path(max_length=1000, description="E-mail or id")]) -> Response:
        """One person: rolling numbers, addresses and devices of the last 30 days."""
        return answer(detail(service, user))

    @api.get(
        "/api/v1/sign-ins",
        **says(
            SignInList,
            422,
            example="""
failed = api.get("/api/v1/sign-ins", params={"preset": "7d", "result": "failure", "limit": 20}).json()["sign_ins"]
""",
        ),
    )
    def signed_in(
        preset: Annotated[
            str,
            Query(
                pattern="^(24h|7d|30d|90d|this_month|last_month)?$",
                description="24h, 7d, 30d, 90d, this_month or last_month; instead of `from` and `to`; nothing of it: 24h",
            ),
        ] = "",
        from_: Annotated[
            str, Query(alias="from", max_length=40, description="First day or instant, on a 15-minute edge")
        ] = "",
        to: Annotated[str, Query(max_length=40, description="End, exclusive")] = "",
        tz: Annotated[str, Query(max_length=64, description="IANA zone of `from` and `to`")] = "UTC",
        user: Annotated[str, Query(max_length=1000, description="E-mail or id, whole")] = "",
        type_: Annotated[
            str, Query(alias="type", pattern="^(client_login|admin_login|reauth|mfa_setup|mfa_reset)?$")
        ] = "",
        result: Annotated[str, Query(pattern="^(success|failure)?$")] = "",
        reason: Annotated[str, Query(max_length=40, description="One of the reasons of a failure")] = "",
        limit: Limit = 100,
        after: After = "",
    ) -> Response:
        """Sign-ins of a window: the events of the Authentication Events report with the same filters, newest first."""
        asked = {"preset": preset, "from": from_, "to": to, "tz": tz, "user": user, "type": type_}
        try:
            p = sign_ins.parameters(service, asked | {"result": result, "reason": reason})
        except ValidationError as error:
            raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from None
        place = cursors.decode(after, sign_ins.Place)
        rows, more = sign_ins.page(service, p, after=place, limit=limit)
        head = {
            "from_ms": p.from_ms,
            "to_ms": p.to_ms,
            "count": sign_ins.count(service, p),
            "next": cursors.encode(more),
        }
        body = b'%b,"sign_ins":[%b]}' % (msgspec.json.encode(head)[:-1], b",".join(r.encode() for r in rows))
        return Response(body, media_type=JSON)

    return api
