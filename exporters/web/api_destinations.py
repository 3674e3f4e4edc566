"""The API of the S3 sync, for administrators: destinations, how far each delivery is, the set-up check, pause and resume.

A page must not become a way to write files on the machine: what is set up here is a bucket; directories are for the settings.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from exporters.service import Service
from exporters.sinks.target import BucketTarget
from exporters.sync import setup
from exporters.sync.desk import LaneState, Summary
from exporters.sync.destinations import Destination
from exporters.web.api import answer
from exporters.web.contract import says
from exporters.web.gate import person_of
from pipeline.errors import ConfigError, RequestError, Unavailable

Name = Annotated[str, Path(max_length=40, pattern=r"^[a-z0-9][a-z0-9-]*$", description="a-z, 0-9 and -")]
State = Literal["delivering", "pausing", "paused", "failing", "needs attention", "rebalancing", "nobody delivers"]


class Delivery(msgspec.Struct):
    """One destination and how far it is.  Instants UTC ms, 0: never; `delivered` of a partition is the offset before which everything is there; both lags are null while a partition is with no process."""

    name: str
    place: str
    origin: Literal["settings", "api"]
    state: State
    since: int
    problem: str
    paused_by: str
    lag_records: int | None
    lag_seconds: float | None
    lost_records: int
    last_object: str
    stored_at: int
    partitions: list[LaneState]
    settings: dict[str, Any]


class DestinationList(msgspec.Struct):
    """All destinations, by name."""

    destinations: list[Delivery]


class Look(msgspec.Struct):
    """One step of the set-up check; `ok` null: it could not be looked at, for the reason that `said` gives."""

    name: str
    ok: bool | None
    said: str


class Checked(msgspec.Struct):
    """The set-up check: `ok` if nothing must be changed."""

    ok: bool
    steps: list[Look]


def known(service: Service) -> dict[str, Destination]:
    """Raises Unavailable before the topic is read."""
    if not service.desk.journal.ready:
        raise Unavailable("the destinations are not read from Kafka yet; try again in a moment")
    return service.desk.destinations()


def delivery(service: Service, name: str) -> Delivery:
    """Raises RequestError, Unavailable."""
    destination = known(service).get(name)
    if destination is None:
        raise RequestError(f"There is no destination {name}.", status=404, code="not_found")
    summary: Summary = service.desk.summary(name, destination)
    paused = service.desk.paused(name)
    shared = {f: getattr(summary, f) for f in Summary.__struct_fields__ if f != "state"}
    return Delivery(
        **shared,
        state=summary.state,  # type: ignore[arg-type]
        origin="settings" if name in service.settings.destinations else "api",
        paused_by=paused.by if paused else "",
        settings=destination.model_dump(mode="json"),
    )


def put(service: Service, name: str, destination: Destination) -> bool:
    """Make or change one; True if it is new.  Raises RequestError, Unavailable."""
    _a_bucket(destination)
    new = name not in known(service)
    try:
        service.desk.put(name, destination.model_dump(mode="json"))
    except ConfigError as error:
        raise RequestError(str(error)) from None
    return new


def checked(service: Service, name: str, destination: Destination) -> Checked:
    """Look at a destination, saved or not.  Raises RequestError, Unavailable."""
    _a_bucket(destination)
    try:
        steps = [Look(s.name, s.ok, s.said) for s in setup.check(service.settings, {name: destination}, name)]
    except ConfigError as error:
        raise RequestError(str(error)) from None
    return Checked(all(step.ok is not False for step in steps), steps)


def _a_bucket(destination: Destination) -> None:
    if not isinstance(destination.target, BucketTarget):
        raise RequestError("target: only buckets are set up here; a directory is set up in the settings of the system")


BODY = """{
    "target": {"kind": "s3", "bucket": "siem-events", "prefix": "activity", "endpoint": "https://s3.example.com"},
    "kinds": ["authentication"],
}"""


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.get(
        "/api/v1/destinations",
        **says(DestinationList, example='api.get("/api/v1/destinations").json()["destinations"]'),
    )
    def listed() -> Response:
        """All destinations and how far each delivery is.  Administrators only."""
        return answer(DestinationList([delivery(service, name) for name in sorted(known(service))]))

    @api.put(
        "/api/v1/destinations/{name}",
        **says(
            Delivery,
            409,
            422,
            also=(201,),
            example=f'wanted = {BODY}\napi.put("/api/v1/destinations/siem", json=wanted)',
        ),
    )
    def make(http: Request, name: Name, destination: Destination) -> Response:
        """Make or change a destination: a bucket; directories and secrets are set up on the machine.  Administrators only."""
        new = put(service, name, destination)
        http.scope["detail"] = f"destination {name} to {destination.target.place}"
        return answer(delivery(service, name), 201 if new else 200)

    @api.get(
        "/api/v1/destinations/{name}",
        **says(Delivery, 404, 422, example='lag = api.get("/api/v1/destinations/siem").json()["lag_records"]'),
    )
    def one(name: Name) -> Response:
        """One destination and how far its delivery is.  Administrators only."""
        return answer(delivery(service, name))

    @api.post(
        "/api/v1/destinations/{name}/check",
        **says(
            Checked,
            404,
            422,
            example='for step in api.post("/api/v1/destinations/siem/check").json()["steps"]:\n    print(step["name"], step["ok"], step["said"])',
        ),
    )
    def check(name: Name) -> Response:
        """Look at the bucket step by step, each right or with what to change.  Writes a few small objects below `_activity/`.  Administrators only."""
        destination = known(service).get(name)
        if destination is None:
            raise RequestError(f"There is no destination {name}.", status=404, code="not_found")
        return answer(checked(service, name, destination))

    @api.post(
        "/api/v1/destinations/{name}/pause",
        **says(Delivery, 404, 422, example='api.post("/api/v1/destinations/siem/pause")'),
    )
    def pause(http: Request, name: Name) -> Response:
        """Hold a delivery back; Kafka keeps the events meanwhile.  Administrators only."""
        delivery(service, name)
        service.desk.pause(name, by=person_of(http).name)
        return answer(delivery(service, name))

    @api.post(
        "/api/v1/destinations/{name}/resume",
        **says(Delivery, 404, 422, example='api.post("/api/v1/destinations/siem/resume")'),
    )
    def resume(name: Name) -> Response:
        """Let a paused delivery go on where it was.  Administrators only."""
        delivery(service, name)
        service.desk.resume(name)
        return answer(delivery(service, name))

    @api.delete(
        "/api/v1/destinations/{name}",
        **says(None, 404, 409, 422, status=204, example='api.delete("/api/v1/destinations/siem")'),
    )
    def delete(name: Name) -> Response:
        """End a delivery; what was delivered stays in the bucket.  Administrators only."""
        remove(service, name)
        return Response(status_code=204)

    return api


def remove(service: Service, name: str) -> None:
    """Raises RequestError, Unavailable."""
    if delivery(service, name).origin == "settings":
        raise RequestError(
            f"Destination {name} is in the settings of this system; take it out there.", status=409, code="conflict"
        )
    service.desk.remove(name)
