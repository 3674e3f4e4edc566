"""Who may sign in, and as what: the claims of a login held against the settings.  PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters.access.people import ADMIN, LOCAL, VIEWER, Person
from pipeline.errors import RequestError
from pipeline.settings import Settings

EVERYBODY = "*"


@dataclass(frozen=True)
class Rules:
    name_claim: str
    group_claim: str
    admin_groups: frozenset[str]
    admins: frozenset[str]
    viewer_groups: frozenset[str]
    domains: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        return cls(
            settings.login_name_claim,
            settings.login_group_claim,
            listed(settings.login_admin_groups),
            frozenset(n.casefold() for n in listed(settings.login_admins)),
            listed(settings.login_viewer_groups),
            frozenset(d.casefold().removeprefix("@") for d in listed(settings.login_domains)),
        )

    @property
    def faults(self) -> list[str]:
        """Why nobody could sign in, or nobody administer."""
        said = []
        if not (self.admin_groups or self.admins):
            said.append("name who administers: ACTIVITY_LOGIN_ADMIN_GROUPS or ACTIVITY_LOGIN_ADMINS")
        if not self.viewer_groups:
            said.append("name who may sign in: ACTIVITY_LOGIN_VIEWER_GROUPS, groups or *")
        return said

    def person(self, claims: Mapping[str, Any]) -> Person:
        """Raises RequestError, in words for whoever stands before the page."""
        name = claims.get(self.name_claim)
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > 254:
            raise _no(f"The provider does not say who you are: {self.name_claim} is missing in its answer.")
        name = name.strip().casefold()
        if name == LOCAL.name or ":" in name:  # names of our own: the command line, and what tokens ask for
            raise _no("This name is taken by the service itself.")
        if self.name_claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise _no("The provider has not verified your e-mail address. Have it verified there and sign in again.")
        if self.domains and name.rpartition("@")[2] not in self.domains:
            raise _no(f"Only people of {', '.join(sorted(self.domains))} may sign in here.")
        groups = _groups(claims.get(self.group_claim))
        if name in self.admins or groups & self.admin_groups:
            return Person(name, ADMIN)
        if EVERYBODY in self.viewer_groups or groups & self.viewer_groups:
            return Person(name, VIEWER)
        raise _no(
            "You are signed in at the provider, but none of your groups may use this service. Ask its administrator."
        )


def listed(text: str) -> frozenset[str]:
    """The parts of a comma-separated setting."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _groups(claim: Any) -> frozenset[str]:
    if isinstance(claim, str):
        return frozenset([claim])
    return frozenset(g for g in claim if isinstance(g, str)) if isinstance(claim, list) else frozenset()


def _no(why: str) -> RequestError:
    return RequestError(why, status=403, code="login_refused")
