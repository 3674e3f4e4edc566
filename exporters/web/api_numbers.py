"""The API of the rolling windows.  Answers are put together from rows that were encoded when the snapshot was made: a question costs next to nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND
from exporters.service import Service
from exporters.snapshots.shapes import WindowName
from exporters.snapshots.snapshotter import Moment
from exporters.web import cursors
from exporters.web.contract import JSON, says
from exporters.web.cursors import After
from pipeline.errors import Unavailable

Limit = Annotated[int, Query(ge=1, le=1000, description="Rows at most")]
Window = Annotated[WindowName, Query(description="How far back; it ends with the quarter hour that has begun")]


class TopUser(msgspec.Struct):
    user_email: str
    total_bytes: int
    total_connections: int


class ActiveTotals(msgspec.Struct):
    """Sums over all rows."""

    active_users: int
    total_connections: int
    success_connections: int
    failed_connections: int
    failed_connections_dns: int
    failed_connections_other: int
    total_bytes: int
    bytes_transferred: int
    bytes_received: int
    relay_connections: int
    p2p_connections: int
    top_users: list[TopUser]


class ActiveUser(msgspec.Struct):
    """A row of the Active Users report."""

    user_email: str
    last_access_date: str | None
    total_connections: int
    success_connections: int
    failed_connections: int
    failed_connections_dns: int
    failed_connections_other: int
    total_bytes: int
    bytes_transferred: int
    bytes_received: int
    percent_relay: float | None
    percent_p2p: float | None
    active_devices: int
    num_of_client_ip: int
    top_10_client_ips: list[str]


class InactiveTotals(msgspec.Struct):
    """`directory` false: there is none, the population is everyone ever seen."""

    inactive_users: int
    never: int
    population: int
    directory: bool


class InactiveUser(msgspec.Struct):
    """A row of the Inactive Users report; nulls for somebody who never had access."""

    user_email: str
    last_access_date: str | None
    days_since_last_access: int | None
    state: str
    created_date: str | None


class TypeCounts(msgspec.Struct):
    success: int
    failure: int


class AuthenticationTotals(msgspec.Struct):
    sign_ins: int
    failures: int
    failures_by_reason: dict[str, int]
    by_type: dict[str, TypeCounts]


class Outcome(msgspec.Struct):
    """How many sign-ins of one type ended in one way."""

    type: str
    result: Literal["success", "failure"]
    reason: str | None
    count: int


class _Snapshot(msgspec.Struct, kw_only=True):
    """Instants UTC ms.  The window is [from_ms, to_ms); `count` the rows of all pages; every event that Kafka had acknowledged at
    `complete_through` is inside, null while the store has not caught up since the service started; `version` grows with every change.
    """

    kind: str
    window: WindowName
    version: int
    from_ms: int
    to_ms: int
    complete_through: int | None
    made_at: int
    count: int
    next: str | None


class ActiveSnapshot(_Snapshot, kw_only=True):
    """The Active Users report over a rolling window, by e-mail."""

    totals: ActiveTotals
    rows: list[ActiveUser]


class InactiveSnapshot(_Snapshot, kw_only=True):
    """The Inactive Users report with a rolling window's length as its threshold, never first, then by date."""

    totals: InactiveTotals
    rows: list[InactiveUser]


class AuthenticationSnapshot(_Snapshot, kw_only=True):
    """The Authentication Events report over a rolling window, counted; the events are `/api/v1/sign-ins`."""

    totals: AuthenticationTotals
    rows: list[Outcome]


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.get(
        "/api/v1/snapshots/active",
        **says(
            ActiveSnapshot,
            422,
            example='users = api.get("/api/v1/snapshots/active", params={"window": "24h"}).json()["totals"]["active_users"]',
        ),
    )
    async def active(window: Window = "24h", limit: Limit = 100, after: After = "") -> Response:
        """Who used the network in a rolling window, how, and from where: seconds old."""
        return page(service, ACTIVE_KIND, window, limit, cursors.decode(after, str))

    @api.get(
        "/api/v1/snapshots/inactive",
        **says(
            InactiveSnapshot,
            422,
            example='gone = api.get("/api/v1/snapshots/inactive", params={"window": "30d", "limit": 1000}).json()["rows"]',
        ),
    )
    async def inactive(window: Window = "24h", limit: Limit = 100, after: After = "") -> Response:
        """Who had no access in a rolling window."""
        return page(service, INACTIVE_KIND, window, limit, cursors.decode(after, tuple[int, str]))

    @api.get(
        "/api/v1/snapshots/authentication",
        **says(
            AuthenticationSnapshot,
            422,
            example='why = api.get("/api/v1/snapshots/authentication").json()["totals"]["failures_by_reason"]',
        ),
    )
    async def authentication(window: Window = "24h", limit: Limit = 100, after: After = "") -> Response:
        """Sign-ins of a rolling window by type, result and reason."""
        return page(service, AUTHENTICATION_KIND, window, limit, cursors.decode(after, tuple[str, str, str]))

    return api


def newest(service: Service) -> Moment:
    """Raises Unavailable before the first one."""
    moment = service.snapshots.moment
    if moment is None:
        raise Unavailable(service.unhealthy() or "the first numbers are being computed", retry_after_seconds=2)
    return moment


def page(service: Service, kind: str, window: str, limit: int, after: Any) -> Response:
    moment = newest(service)
    snapshot = moment.snapshots[kind, window]
    rows, place = snapshot.page(after, limit)
    head = msgspec.structs.asdict(snapshot.head) | {
        "complete_through": moment.complete_through,
        "next": cursors.encode(place),
    }
    return Response(b'%b,"rows":[%b]}' % (msgspec.json.encode(head)[:-1], b",".join(rows)), media_type=JSON)
