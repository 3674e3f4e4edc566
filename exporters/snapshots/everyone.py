"""Who there is, and when each was last there: the directory, and everybody who was ever seen in an event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from exporters.reports.columns import Inactive
from exporters.snapshots.shapes import Counted, WindowName
from exporters.store.changes import Changed
from exporters.store.store import Store, at
from pipeline import clock

# Reading the whole history costs; while events of past months come in it is read again at most this often per second it took.
PATIENCE = 5.0


class Member(NamedTuple):
    """What the directory says of a person; the texts are empty for somebody it does not know."""

    state: str
    created: str
    ids: tuple[str, ...]


class Everyone(NamedTuple):
    """One moment.  `people`: everybody by name, in order; `principals`: the ids and e-mails by which events name each of them, `named` the same by each
    id and e-mail; `words`: all names of each in small letters, to search in; `last`: their newest access ever, UTC ms, 0 for never; `windows`: their
    rolling numbers.
    """

    people: list[str]
    directory: dict[str, Member]
    principals: dict[str, list[tuple[str, str]]]
    named: dict[str, list[tuple[str, str]]]
    words: dict[str, str]
    last: dict[str, int]
    windows: dict[WindowName, dict[str, Counted]]

    def find(self, text: str) -> str | None:
        """The person who is called so: by their name in the reports, by e-mail in any case, or by an id."""
        for name in (text, text.casefold()):
            if name in self.directory or name in self.principals:
                return name
        return next(
            (person for person, member in self.directory.items() if text in member.ids),
            next((person for person, them in self.principals.items() if any(text == i for i, _ in them)), None),
        )

    def meant(self, text: str) -> list[tuple[str, str]]:
        """The ids and e-mails in events that the Authentication report takes for this user."""
        folded = text.casefold()
        member = self.directory.get(folded)
        ids = {text, *(member.ids if member is not None else ())}
        found = {pair for name in (folded, *ids) for pair in self.named.get(name, ())}
        return sorted(pair for pair in found if pair[0] in ids or pair[1] == folded)

    def inactive(self, from_ms: int, to_ms: int) -> list[Inactive]:
        """As the Inactive Users report has them: whose last access before `to_ms` lies before `from_ms`."""
        population = self.directory or dict.fromkeys(self.people, _UNKNOWN)
        found = [
            Inactive(person, self.last.get(person, 0), member.state, member.created, to_ms)
            for person, member in population.items()
            if self.last.get(person, 0) < from_ms
        ]
        return sorted(found, key=lambda i: (i.last_ms, i.person))


_UNKNOWN = Member("", "", ())


class Census:
    """Keeps what `Everyone` needs.  Used by one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._emails: dict[str, str] | None = None
        self._directory: dict[str, Member] = {}
        self._seen: set[tuple[str, str]] = set()
        self._people: list[str] = []
        self._principals: dict[str, list[tuple[str, str]]] = {}
        self._named: dict[str, list[tuple[str, str]]] = {}
        self._words: dict[str, str] = {}
        self._before: dict[str, int] = {}
        self._before_ms = 0
        self._stale = True
        self._rest_until = 0.0

    def read(self, changed: Changed) -> None:
        """Take note of who is new, and of another directory."""
        first = self._emails is None
        if first:
            self._seen = set(self._store.rows("principals"))
        if first or changed.accounts:
            self._read_directory()
            self._stale = True
        if first or changed.accounts or not changed.seen <= self._seen:
            self._seen |= changed.seen
            self._name()

    def people(self, principals: Iterable[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
        """The people behind ids and e-mails that are known, with all by which events name them."""
        people = {self._person(*principal) for principal in principals}
        return {person: self._principals[person] for person in people}

    def everyone(
        self, changed: Changed, from_ms: int, windows: dict[WindowName, dict[str, Counted]], widest: WindowName
    ) -> Everyone:
        """`from_ms` is where the widest window begins: what lies before it comes from the store, everything else from its rows."""
        if any(quarter * 1000 < from_ms for quarter in changed.connections) or from_ms != self._before_ms:
            self._stale = True
        if self._stale and (clock.monotonic() >= self._rest_until or from_ms != self._before_ms):
            began = clock.monotonic()
            self._before = dict(self._store.rows("accesses_before", before=at(from_ms)))
            self._before_ms, self._stale = from_ms, False
            ended = clock.monotonic()
            self._rest_until = ended + PATIENCE * (ended - began)
        last = self._before | {p: a.last_ms for p, a in windows[widest].items() if a.last_ms}
        return Everyone(self._people, self._directory, self._principals, self._named, self._words, last, windows)

    @property
    def principals(self) -> int:
        """How many ids and e-mails are known."""
        return len(self._seen)

    @property
    def behind(self) -> bool:
        """Whether something old has changed that is not read again yet."""
        return self._stale

    def _person(self, id_: str, email: str) -> str:
        """As the reports call them."""
        return (self._emails or {}).get(id_) or email or id_

    def _name(self) -> None:
        principals: dict[str, list[tuple[str, str]]] = {}
        named: dict[str, list[tuple[str, str]]] = {}
        for id_, email in sorted(self._seen):
            principals.setdefault(self._person(id_, email), []).append((id_, email))
            for name in {id_, email} - {""}:
                named.setdefault(name, []).append((id_, email))
        self._people = sorted({*self._directory, *principals})
        self._principals, self._named = principals, named
        self._words = {
            person: "\n".join(
                {
                    name.casefold()
                    for names in ((person, *self._directory.get(person, _UNKNOWN).ids), *principals.get(person, ()))
                    for name in names
                }
            )
            for person in self._people
        }

    def _read_directory(self) -> None:
        accounts: dict[str, list[tuple[str, str, str]]] = {}
        emails = {}
        for id_, email, state, created in self._store.rows("directory"):
            accounts.setdefault(email or id_, []).append((id_, state, created))
            if email:
                emails[id_] = email
        self._emails = emails
        self._directory = {
            person: Member(
                "active" if any(s == "active" for _, s, _ in them) else min(s for _, s, _ in them),
                min(c for _, _, c in them),
                tuple(sorted(i for i, _, _ in them)),
            )
            for person, them in accounts.items()
        }
