"""Who there is, with rolling numbers: searched, sorted and paged, the same for the page and the API."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Literal

import msgspec

from exporters.reports.columns import Active, created
from exporters.service import Service
from exporters.snapshots.everyone import Everyone, Member
from exporters.snapshots.shapes import WINDOWS, Counted, WindowName, edges, share
from exporters.snapshots.snapshotter import Moment
from exporters.store.store import at
from exporters.web.api_numbers import ActiveUser, newest
from pipeline import clock
from pipeline.errors import RequestError
from pipeline.model.times import iso

Sort = Literal["email", "last_access", "connections", "failed", "bytes", "devices"]
Order = Literal["asc", "desc"]
ADDRESSES = 50
_NOBODY = Active("", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "")
_UNKNOWN = Member("", "", ())
_VALUES: dict[Sort, Callable[[Active, int], int]] = {
    "email": lambda _a, _last: 0,
    "last_access": lambda _a, last: last,
    "connections": lambda a, _last: a.success + a.failed_dns + a.failed_other,
    "failed": lambda a, _last: a.failed_dns + a.failed_other,
    "bytes": lambda a, _last: a.transferred + a.received,
    "devices": lambda a, _last: a.devices,
}
SORTS: tuple[Sort, ...] = tuple(_VALUES)

Place = tuple[int, str]


class User(msgspec.Struct):
    """One person: what the directory says (`state` empty if it does not know them), their last access ever, numbers of a rolling window."""

    user_email: str
    state: str
    created_date: str | None
    last_access_date: str | None
    total_connections: int
    failed_connections: int
    total_bytes: int
    percent_relay: float | None
    active_devices: int


class Used(msgspec.Struct):
    """An address with its successful connections in the last 30 days, or a device (`connections` null); `last_access_date` to the quarter hour."""

    name: str
    connections: int | None
    last_access_date: str | None


class UserDetail(msgspec.Struct):
    """One person.  `names`: ids and e-mails by which events name them; `windows`: rolling numbers, null for a window without any."""

    user_email: str
    state: str
    created_date: str | None
    last_access_date: str | None
    in_directory: bool
    ids: list[str]
    names: list[str]
    windows: dict[WindowName, ActiveUser | None]
    addresses: list[Used]
    devices: list[Used]


class Orders:
    """Everybody's names in an order, made once per moment and order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 0
        self._made: dict[tuple[WindowName, Sort], list[str]] = {}

    def of(self, moment: Moment, window: WindowName, sort: Sort) -> list[str]:
        with self._lock:
            if moment.version != self._version:
                self._version, self._made = moment.version, {}
            if (window, sort) not in self._made:
                # They come by name, and equals stay as they are.
                value = _value(moment.everyone, window, sort)
                self._made[window, sort] = sorted(moment.everyone.people, key=value)
            return self._made[window, sort]


def _value(everyone: Everyone, window: WindowName, sort: Sort) -> Callable[[str], int]:
    numbers, last, of = everyone.windows[window], everyone.last, _VALUES[sort]
    return lambda person: of(numbers.get(person, _NOBODY), last.get(person, 0))


def users(
    moment: Moment,
    orders: Orders,
    *,
    search: str,
    state: str,
    window: WindowName,
    sort: Sort,
    order: Order,
    after: Place | None,
    limit: int,
) -> tuple[list[User], Place | None, int]:
    """One page, the place to go on from, and how many there are in all."""
    everyone, wanted = moment.everyone, search.strip().casefold()
    value = _value(everyone, window, sort)
    people = orders.of(moment, window, sort)
    if wanted or state:
        people = [p for p in people if _fits(everyone, p, wanted, state)]

    def place(person: str) -> Place:
        return value(person), person

    if order == "asc":
        start = 0 if after is None else bisect_right(people, after, key=place)
        chosen, more = people[start : start + limit], start + limit < len(people)
    else:
        end = len(people) if after is None else bisect_left(people, after, key=place)
        chosen, more = people[max(0, end - limit) : end][::-1], end > limit
    rows = [_user(everyone, person, window) for person in chosen]
    return rows, place(chosen[-1]) if more and chosen else None, len(people)


def states(everyone: Everyone) -> list[str]:
    """Those of the directory."""
    return sorted({m.state for m in everyone.directory.values() if m.state})


def detail(service: Service, name: str) -> UserDetail:
    """Raises RequestError, Unavailable."""
    moment = newest(service)
    everyone = moment.everyone
    person = everyone.find(name)
    if person is None:
        raise RequestError(
            "There is no such user: neither in the directory nor in any event.", status=404, code="not_found"
        )
    member = everyone.directory.get(person, _UNKNOWN)
    principals = everyone.principals.get(person, [])
    used: dict[str, list[Used]] = {"address": [], "device": []}
    if principals:
        a, b = edges("30d", clock.now_ms())
        for what, label, many, last in service.store.rows(
            "person", ids=[i for i, _ in principals], principals=principals, a=at(a), b=at(b), limit=ADDRESSES
        ):
            used[what].append(Used(label, many if what == "address" else None, iso(last) if last else None))
    row = _user(everyone, person, "30d")
    return UserDetail(
        person,
        row.state,
        row.created_date,
        row.last_access_date,
        person in everyone.directory,
        list(member.ids),
        sorted({name for pair in principals for name in pair if name} - {*member.ids, person}),
        {w: _numbers(everyone.windows[w].get(person)) for w in WINDOWS},
        used["address"],
        used["device"],
    )


def _numbers(counted: Counted | None) -> ActiveUser | None:
    return None if counted is None else msgspec.json.decode(counted.row, type=ActiveUser)


def _fits(everyone: Everyone, person: str, wanted: str, state: str) -> bool:
    if state and everyone.directory.get(person, _UNKNOWN).state != ("" if state == "none" else state):
        return False
    return wanted in everyone.words[person]


def _user(everyone: Everyone, person: str, window: WindowName) -> User:
    member, a = everyone.directory.get(person, _UNKNOWN), everyone.windows[window].get(person, _NOBODY)
    last, failed = everyone.last.get(person, 0), a.failed_dns + a.failed_other
    return User(
        person,
        member.state,
        created(member.created) or None,
        iso(last) if last else None,
        a.success + failed,
        failed,
        a.transferred + a.received,
        share(a.relay, a.relay + a.p2p),
        a.devices,
    )
