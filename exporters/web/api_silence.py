"""The API of silence: connectors and sources, and when each was heard last."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from exporters.service import Service
from exporters.web.api import answer
from exporters.web.contract import says


class Heard(msgspec.Struct):
    """Instants UTC ms: `heard_at` when its newest record arrived, `event_at` its newest event's time, null if none could be read."""

    kind: Literal["connector", "source"]
    id: str
    name: str
    silent: bool
    heard_at: int
    event_at: int | None


class SpeakerList(msgspec.Struct):
    """The silent ones first.  `silence_minutes` is the setting that says when somebody is silent."""

    silence_minutes: float
    speakers: list[Heard]


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.get(
        "/api/v1/speakers",
        **says(
            SpeakerList,
            422,
            example='silent = [s["name"] for s in api.get("/api/v1/speakers").json()["speakers"] if s["silent"]]',
        ),
    )
    def speakers(
        limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most")] = 1000,
    ) -> Response:
        """Connectors and sources, and when each was heard last."""
        found = service.listener.speakers()[:limit]
        heard = [Heard(s.kind, s.id, s.name, quiet, s.heard_at, s.event_at or None) for s, quiet in found]  # type: ignore[arg-type]
        return answer(SpeakerList(service.settings.silence_minutes, heard))

    return api
