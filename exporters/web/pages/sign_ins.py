"""Sign-ins: the Authentication Events report on the screen, and the way to export exactly what it shows."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from exporters.reports.presets import PRESETS
from exporters.reports.telling import window_lines
from exporters.service import Service
from exporters.web import cursors, sign_ins, words
from exporters.web.pages.reports import CUSTOM
from exporters.web.views import Views, zone_of
from pipeline.errors import RequestError
from pipeline.model.events import AUTHENTICATION_TYPES, FAILURE_REASONS

PAGE = "/sign-ins"
SHOWN = 50
FILTERS = ("user", "type", "result", "reason")


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        asked = request.query_params
        zone = zone_of(request)
        # The other pages name a rolling window; here it is one of the presets.
        preset = asked.get("preset") or asked.get("window") or (CUSTOM if asked.get("from") else "24h")
        chosen = {k: asked.get(k, "").strip()[:1000] for k in FILTERS} | {
            "preset": preset if preset in (*PRESETS, CUSTOM) else "24h",
            "from": asked.get("from", "")[:40],
            "to": asked.get("to", "")[:40],
        }
        shown: dict[str, Any] = {"rows": [], "count": 0, "next": "", "window": [], "export": "", "problem": ""}
        try:
            ends = ("from", "to") if chosen["preset"] == CUSTOM else ("preset",)
            p = sign_ins.parameters(service, {k: chosen[k] for k in (*FILTERS, *ends)} | {"tz": zone})
            after = cursors.decode(asked.get("after", "")[:4000], sign_ins.Place)
            rows, place = sign_ins.page(service, p, after=after, limit=SHOWN)
        except ValidationError as error:
            shown["problem"] = "; ".join(f"{f['loc'][0]}: {f['msg']}" for f in error.errors())
        except RequestError as error:
            shown["problem"] = str(error)
        else:
            # Later pages are of the same window, though a rolling one moves on.
            fixed = {k: chosen[k] for k in FILTERS} | {
                "from": words.field_value(p.from_ms, zone),
                "to": words.field_value(p.to_ms, zone),
            }
            more = cursors.encode(place)
            shown |= {
                "rows": [sign_ins.read(t) for t in rows],
                "count": sign_ins.count(service, p),
                "next": f"{PAGE}?{urlencode({k: v for k, v in fixed.items() if v} | {'after': more})}" if more else "",
                "window": window_lines("authentication", p),
                "export": sign_ins.export_link(p),
            }
        return views.page(
            request,
            "sign_ins.html",
            status=422 if shown["problem"] else 200,
            chosen=chosen,
            presets=PRESETS,
            types=AUTHENTICATION_TYPES,
            reasons=FAILURE_REASONS,
            degraded=service.unhealthy(),
            **shown,
        )

    return pages
