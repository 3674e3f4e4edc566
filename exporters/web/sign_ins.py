"""Sign-ins on the screen: the Authentication report's window, filters and order (the other way round: newest first), a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import orjson

from exporters.reports.ask import Ask, parameters_of
from exporters.reports.build import AUTHENTICATION_KIND, Parameters
from exporters.service import Service
from exporters.snapshots.everyone import Everyone
from exporters.web import words
from pipeline import clock
from pipeline.model.times import parse

# What the store has columns for; another place was never answered.
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Partition = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Place = tuple[Whole, str, Partition, Whole]
_END: Place = (2**62, "", 0, 0)
EXPORT_PAGE = "/settings/reports"


class SignIn(NamedTuple):
    """One event as a person reads it; `document` is what the report holds."""

    at: int
    who: str
    type: str
    result: str
    reason: str
    detail: str
    facts: list[tuple[str, str]]
    document: dict[str, Any]


def parameters(service: Service, ask: dict[str, Any]) -> Parameters:
    """What a report with these words would be about; the last 24 hours if they name no window.  Raises RequestError, ValidationError."""
    if not (ask.get("preset") or ask.get("from") or ask.get("to")):
        ask = ask | {"preset": "24h"}
    settings = service.settings
    return parameters_of(
        Ask.model_validate(ask | {"kind": AUTHENTICATION_KIND}),
        now_ms=clock.now_ms(),
        inactive_days=settings.inactive_days,
        device_days=settings.device_days,
    )


def count(service: Service, p: Parameters) -> int:
    return int(next(iter(service.store.rows("sign_ins_count", **_conditions(p))))[0])


def page(service: Service, p: Parameters, *, after: Place | None, limit: int) -> tuple[list[str], Place | None]:
    """Documents as JSON texts, newest first, and the place to go on from."""
    at, event, part, offset = after or _END
    rows = list(
        service.store.rows(
            "sign_ins_page", **_conditions(p), at=at, event=event, part=part, offset=offset, limit=limit + 1
        )
    )
    place = rows[limit - 1][:4] if len(rows) > limit else None
    return [row[4] for row in rows[:limit]], place


class History(NamedTuple):
    """Documents, newest first; `more` if there are more than the newest."""

    newest: list[str]
    more: bool
    kept: list[str]


def of_person(
    service: Service, everyone: Everyone, p: Parameters, *, limit: int, kept: Sequence[str], kept_from_ms: int
) -> History:
    """What happened to the user whom `p` names, as of the moment of `everyone`; the `kept` types go back to an earlier instant."""
    principals = everyone.meant(p.user)
    if not principals:
        return History([], False, [])
    rows = list(
        service.store.rows(
            "person_sign_ins",
            ids=[id_ for id_, _ in principals],
            principals=principals,
            a=p.from_ms,
            b=p.to_ms,
            kept=list(kept),
            kept_a=kept_from_ms,
            limit=limit + 1,
        )
    )
    newest = [document for at, _, document in rows if at >= p.from_ms]
    return History(newest[:limit], len(newest) > limit, [document for _, is_kept, document in rows if is_kept][:limit])


def read(text: str) -> SignIn:
    """A document as a person reads it."""
    document = orjson.loads(text)
    event = document["event"]
    action = event["action"]
    user = action.get("user") or {}
    provider, posture, mfa = (action.get(k) or {} for k in ("idp", "posture", "mfa"))
    actor = mfa.get("actor") or {}
    named = [
        ("Policy", _name(user.get("policy"))),
        ("Resource", _name(user.get("resource"))),
        ("Device", _name(user.get("device"))),
        ("Address", action.get("client_ip")),
        ("Provider", provider.get("name") or provider.get("issuer")),
        ("Provider said", " · ".join(t for t in (provider.get("error"), provider.get("error_description")) if t)),
        ("Posture", ", ".join(posture.get("failed") or [])),
        ("Method", mfa.get("method")),
        ("Done by", actor.get("email") or actor.get("id")),
    ]
    return SignIn(
        parse(event["time"]),
        user.get("email") or user.get("id") or "",
        action["type"],
        action.get("result") or "success",
        action.get("reason") or "",
        str(action.get("detail") or ""),
        [(name, text) for name, text in named if text],
        document,
    )


def export_link(p: Parameters) -> str:
    """The report form with exactly this window and these filters."""
    values = {
        "kind": AUTHENTICATION_KIND,
        "preset": "custom",
        "tz": p.tz,
        "from": words.field_value(p.from_ms, p.tz),
        "to": words.field_value(p.to_ms, p.tz),
        "user": p.user,
        "type": p.type,
        "result": p.result,
        "reason": p.reason,
    }
    return f"{EXPORT_PAGE}?{urlencode({k: v for k, v in values.items() if v})}#generate"


def _conditions(p: Parameters) -> dict[str, Any]:
    return {
        "a": p.from_ms,
        "b": p.to_ms,
        "who": p.user,
        "folded": p.user.casefold(),
        "types": [p.type] if p.type else [],
        "result": p.result,
        "reason": p.reason,
    }


def _name(thing: Any) -> str:
    thing = thing or {}
    return thing.get("name") or thing.get("id") or ""
