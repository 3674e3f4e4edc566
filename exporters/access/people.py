"""Who asks, and what they may.  PURE."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["viewer", "admin"]
VIEWER: Role = "viewer"
ADMIN: Role = "admin"
ROLES = {
    VIEWER: "reads the pages, asks for reports and takes their own files",
    ADMIN: "everything: all reports, schedules, destinations, tokens, the audit",
}


class Person(msgspec.Struct, frozen=True):
    """Whoever a request comes from: a signed-in person or the bearer of a token; `session` is set only for the former."""

    name: str
    role: Role
    session: str = ""

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN


LOCAL = Person("local", ADMIN)
