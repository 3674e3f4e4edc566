"""The reports over people do not show into how many slices people were divided, and keep nothing of it."""

from __future__ import annotations

import random

import pytest

from exporters.reports.columns import Inactive
from exporters.reports.people import People
from tests.exporters.store import plain
from tests.exporters.store.rows import START, accounts, connections, sign_ins

pytestmark = pytest.mark.xdist_group("store")

DAY = 86_400
WINDOW, DEVICES = (START, START + 10 * DAY), (START + 5 * DAY, START + 15 * DAY)
AS_OF, CUT = START + 12 * DAY, START + 9 * DAY
EMAILS = ("", *(f"{letter}@x.example" for letter in "abcdefgh"))


def ms(window):
    return tuple(1000 * at for at in window)


class World:
    """People with several ids and e-mails, some without an id; what is said of them lies in many parts of the store."""

    def __init__(self, store, seed, *, directory):
        rng = random.Random(seed)
        store._client().command("SYSTEM STOP MERGES connections")
        ids = ["", *map(str, range(12))]
        self.accounts = (
            {i: rng.choice(EMAILS) for i in rng.sample(ids[1:], 6)} | {"99": "never@x.example"} if directory else {}
        )
        self.rows = []
        for batch in range(12):
            rows = [
                {
                    "id": (i := rng.choice(ids)), "email": rng.choice(EMAILS[0 if i else 1 :]), "bucket": START + rng.randrange(-3, 20) * DAY, "first": 100 * batch + n,
                    "success": rng.randrange(3), "failed_dns": rng.randrange(2), "client_ips": [(rng.choice("vwxyz"), 1 + rng.randrange(3))], "devices": [rng.choice("pqrs")],
                }
                for n in range(12)
            ]  # fmt: skip
            for row in rows:
                row["last_access"] = (row["bucket"] + 7) * 1000 if row["success"] else 0
            store.insert("connections", connections(*rows))
            self.rows += rows
        self.signed = [{"id": "77", "offset": 1}, {"id": "", "email": "only@x.example", "offset": 2}]
        store.insert("sign_ins", sign_ins(*self.signed))
        store.insert("accounts", accounts(*({"id": i, "email": e} for i, e in self.accounts.items())))

    def active(self):
        return plain.active(self.rows, self.accounts, WINDOW, DEVICES)

    def inactive(self):
        last = {}
        for row in self.rows:
            if row["bucket"] < AS_OF:
                name = plain.person(row, self.accounts)
                last[name] = max(last.get(name, 0), row["last_access"])
        every = (*self.rows, *self.signed)
        members = {e or i for i, e in self.accounts.items()} or {plain.person(row, self.accounts) for row in every}
        state = "active" if self.accounts else ""
        gone = [(last.get(m, 0), m) for m in members if last.get(m, 0) < CUT * 1000]
        return [Inactive(name, at, state, "", AS_OF * 1000) for at, name in sorted(gone)]


def left(store):
    return [store._client().query(f"SELECT count() FROM {t}").result_rows[0][0] for t in ("active_people", "inactive_people", "inactive_users")]  # fmt: skip


@pytest.mark.parametrize("directory", [True, False])
def test_every_person_is_there_once_and_whole(store, directory):
    world = World(store, 1, directory=directory)
    slices = []
    for many in (1, 4, 10**6):
        people = People(store, lambda: slices.append(many), slice_people=many)  # noqa: B023 - called at once
        assert list(people.active(ms(WINDOW), ms(DEVICES))) == world.active()
        assert list(people.inactive(AS_OF * 1000, CUT * 1000, directory=directory)) == world.inactive()
    # So many days before as of that it lies before 1970: those without any access are still there.
    never = [who for who in world.inactive() if not who.last_ms]
    assert list(People(store).inactive(AS_OF * 1000, -1, directory=directory)) == never != []
    assert slices.count(1) > slices.count(4) > slices.count(10**6) == 4
    assert left(store) == [0, 0, 0]


def test_what_is_abandoned_leaves_nothing_behind(store):
    World(store, 1, directory=True)
    calls = []

    def between():
        calls.append(left(store))
        if len(calls) == 5:
            raise InterruptedError

    people = People(store, between, slice_people=1)
    with pytest.raises(InterruptedError):
        list(people.active(ms(WINDOW), ms(DEVICES)))
    assert calls[-1][0] > 0
    half = People(store).active(ms(WINDOW), ms(DEVICES))
    next(half)
    half.close()
    assert left(store) == [0, 0, 0]
