"""The API of access, for administrators: tokens and the audit."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from exporters.access.audit import Entry
from exporters.access.people import Role
from exporters.access.tokens import LONGEST_DAYS, State, Token
from exporters.service import Service
from exporters.web.api import answer
from exporters.web.contract import says
from exporters.web.gate import person_of
from exporters.web.paging import After, part
from pipeline import clock
from pipeline.errors import RequestError

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[\w .@+-]+$")]
Outcome = Literal["", "done", "refused", "failed"]


class Wish(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    role: Role = "viewer"
    days: int = Field(90, ge=1, le=LONGEST_DAYS, description="Days until it is over")


class Shown(msgspec.Struct):
    """A token as it may be shown: instants UTC ms, `id` is how its secret begins, `last_used_at` is right to the hour."""

    id: str
    name: str
    role: Role
    state: State
    made_at: int
    made_by: str
    expires_at: int
    revoked_at: int | None
    last_used_at: int | None


class Made(msgspec.Struct):
    """A new token with its secret, which is not kept and shown only here."""

    token: Shown
    secret: str


class TokenList(msgspec.Struct):
    """Tokens, newest first."""

    tokens: list[Shown]
    next: str | None = None


class Noted(Entry):
    """One entry of the audit with its place on the topic."""

    offset: int = 0


class AuditList(msgspec.Struct):
    """Entries, newest first.  A page may be empty and still have a `next`: there was much that nobody asked for."""

    entries: list[Noted]
    next: str | None = None


def shown(service: Service, token: Token) -> Shown:
    return Shown(
        token.id,
        token.name,
        token.role,
        token.state(clock.now_ms()),
        token.made_at,
        token.made_by,
        token.expires_at,
        token.revoked_at,
        service.access.tokens.used.get(token.id),
    )


def audited(service: Service, *, who: str, action: str, outcome: str, after: str, limit: int) -> AuditList:
    """One page of the audit; `who` and `action` are parts of what is looked for.  Raises RequestError, Unavailable."""
    if after and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise RequestError("after: pass `next` of the page before")

    def wanted(entry: Entry) -> bool:
        return (
            who.casefold() in entry.who.casefold()
            and action.casefold() in f"{entry.action} {entry.target}".casefold()
            and outcome in ("", entry.outcome)
        )

    found, more = service.access.past.before(int(after) if after else None, limit=limit, wanted=wanted)
    entries = [Noted(**msgspec.structs.asdict(entry), offset=offset) for offset, entry in found]
    return AuditList(entries, None if more is None else str(more))


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.get("/api/v1/tokens", **says(TokenList, 422, example='api.get("/api/v1/tokens").json()["tokens"]'))
    def listed(limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: After = "") -> Response:
        """All tokens, also those that are over.  Administrators only."""
        tokens, more = part(service.access.tokens.all(), lambda t: (t.made_at, t.id), after=after, limit=limit)
        return answer(TokenList([shown(service, t) for t in tokens], more))

    @api.post(
        "/api/v1/tokens",
        **says(
            Made,
            422,
            status=201,
            then={"DELETE /api/v1/tokens/{token_id}": "token/id"},
            example="""
made = api.post("/api/v1/tokens", json={"name": "nightly export", "role": "viewer", "days": 30}).json()
secret, id = made["secret"], made["token"]["id"]
""",
        ),
    )
    def make(http: Request, wish: Wish) -> Response:
        """A new token.  Its secret is in this answer and nowhere else.  Administrators only."""
        token, secret = service.access.give(wish.name, wish.role, days=wish.days, by=person_of(http).name)
        http.scope["detail"] = f"token {token.id} ({token.role}): {token.name}"
        return answer(Made(shown(service, token), secret), 201)

    @api.delete("/api/v1/tokens/{token_id}", **says(Shown, 404, example='api.delete(f"/api/v1/tokens/{id}")'))
    def revoke(http: Request, token_id: Annotated[str, Path(max_length=40)]) -> Response:
        """Revoke a token: no service takes it any more, and it cannot come back.  Administrators only."""
        token = service.access.revoke(token_id)
        http.scope["detail"] = f"token {token.id}: {token.name}"
        return answer(shown(service, token))

    @api.get(
        "/api/v1/audit",
        **says(AuditList, 422, example='api.get("/api/v1/audit", params={"outcome": "refused", "limit": 20}).json()'),
    )
    def audit(
        who: Annotated[str, Query(max_length=254, description="Part of who it was")] = "",
        action: Annotated[str, Query(max_length=200, description="Part of the action or the path")] = "",
        outcome: Outcome = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: After = "",
    ) -> Response:
        """Who asked for, was refused and downloaded what.  Administrators only."""
        return answer(audited(service, who=who, action=action, outcome=outcome, after=after, limit=limit))

    return api
