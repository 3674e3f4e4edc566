"""The API of rejects: what could not be an event and why, its bytes, and sending it once more."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from exporters.service import Service
from exporters.store import rejected
from exporters.web import cursors
from exporters.web.api import answer
from exporters.web.api_numbers import Limit
from exporters.web.contract import says
from exporters.web.cursors import After
from pipeline.errors import RequestError
from pipeline.model.events import Reason

ReasonName = Literal[
    "not_json",
    "not_utf8",
    "too_large",
    "too_deep",
    "unknown_type",
    "wrong_topic",
    "missing_field",
    "wrong_type",
    "bad_time",
    "bad_address",
    "out_of_range",
]
Id = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Reject(msgspec.Struct):
    """One record that could not be an event: `id` is where its bytes first lay (topic/partition/offset), `path` the JSON path at fault,
    `at` when it was refused last (UTC ms).
    """

    id: str
    at: int
    reason: str
    path: str
    bytes: int


class RejectDetail(Reject):
    """A reject with its bytes, unchanged, as base64."""

    value: str = ""


class RejectList(msgspec.Struct):
    """Rejects, newest first; `counts` by reason over all pages."""

    counts: dict[str, int]
    rejects: list[Reject]
    next: str | None = None


class Replayed(msgspec.Struct):
    """How many were sent."""

    sent: int


class Which(BaseModel):
    """Either ids, or a reason, or all."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Id] = Field(default_factory=list, max_length=1000)
    reason: ReasonName | None = None
    all: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Which:
        if bool(self.ids) + (self.reason is not None) + self.all != 1:
            raise ValueError("give ids, or a reason, or all")
        return self


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.get(
        "/api/v1/rejects",
        **says(RejectList, 422, example='rejects = api.get("/api/v1/rejects", params={"limit": 10}).json()["rejects"]'),
    )
    def listed(
        reason: Annotated[ReasonName | None, Query(description="Only this reason")] = None,
        limit: Limit = 100,
        after: After = "",
    ) -> Response:
        """What could not be an event, and why."""
        rows, place = rejected.page(
            service.store, reason=reason or "", after=cursors.decode(after, rejected.Place), limit=limit
        )
        return answer(RejectList(rejected.counts(service.store), [_reject(r) for r in rows], cursors.encode(place)))

    @api.get(
        "/api/v1/rejects/{reject:path}",
        **says(
            RejectDetail,
            404,
            422,
            example="""
import base64
for found in rejects:
    value = base64.b64decode(api.get(f"/api/v1/rejects/{found['id']}").json()["value"])
""",
        ),
    )
    def one(reject: Annotated[str, Path(max_length=1000, description="Its id")]) -> Response:
        """One reject with its bytes."""
        found, value = known(service, reject)
        detail = RejectDetail(
            found.id, found.at, found.reason, found.path, found.size, base64.b64encode(value).decode()
        )
        return answer(detail)

    @api.post(
        "/api/v1/rejects/replay",
        **says(
            Replayed,
            404,
            422,
            example='sent = api.post("/api/v1/rejects/replay", json={"reason": "bad_time"}).json()["sent"]',
        ),
    )
    def replay(body: Which) -> Response:
        """Send rejects once more to where they came from, after what was wrong is mended.  Administrators only."""
        return answer(Replayed(send_again(service, ids=body.ids, reason=body.reason or "")))

    return api


def known(service: Service, id_: str) -> tuple[rejected.Rejected, bytes]:
    """Raises RequestError."""
    found = rejected.one(service.store, id_)
    content = next(iter(rejected.contents(service.store, ids=[id_], reason="")), None) if found else None
    if found is None or content is None:
        raise RequestError(
            "There is no such reject. It may be older than the topic keeps.", status=404, code="not_found"
        )
    return found, content.value


def send_again(service: Service, *, ids: list[str], reason: str) -> int:
    """Those with these ids, or with a reason, or all.  Raises RequestError, Unavailable."""
    for id_ in ids:
        if rejected.one(service.store, id_) is None:
            raise RequestError(f"no such reject: {id_}; see the list of rejects", status=404, code="not_found")
    return service.replays.send(rejected.contents(service.store, ids=ids, reason=reason))


def _reject(r: rejected.Rejected) -> Reject:
    return Reject(r.id, r.at, r.reason, r.path, r.size)


assert set(ReasonName.__args__) == set(Reason), "a reason of the model is missing here"  # type: ignore[attr-defined]
