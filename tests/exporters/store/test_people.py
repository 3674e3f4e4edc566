"""One person's sign-ins, found in the order of people, are those that the report finds in the order of time."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from exporters.reports.build import Parameters
from exporters.snapshots.everyone import Census
from exporters.snapshots.shapes import WINDOWS
from exporters.store.changes import Changed
from exporters.web import sign_ins as sign_ins_page
from tests.exporters.store.rows import START, accounts, sign_ins

pytestmark = pytest.mark.xdist_group("store")

NOW = START * 1000
NAMES = ("", "1", "2", "3", "4", "a@x.example", "b@x.example", "c@x.example")
FIRST = {"at": 2**62, "event": "", "part": 0, "offset": 0}


def everyone(store):
    census = Census(store)
    census.read(Changed())
    return census.everyone(Changed(), NOW, {w: {} for w in WINDOWS}, WINDOWS[-1])


def of_person(store, everybody, who, limit=100):
    """All sign-ins of the last half minute, and the MFA resets of the last minute."""
    p = Parameters(from_ms=NOW + 30_000, to_ms=NOW + 60_000, user=who)
    service = SimpleNamespace(store=store)
    found = sign_ins_page.of_person(service, everybody, p, limit=limit, kept=["mfa_reset"], kept_from_ms=NOW)
    return found.newest, found.kept


def of_report(store, who, limit=100):
    def rows(since, types):
        about = {"a": NOW + since, "b": NOW + 60_000, "who": who, "folded": who.casefold(), "types": types, "result": "", "reason": ""}  # fmt: skip
        return [row[4] for row in store.rows("sign_ins_page", **about, **FIRST, limit=limit)]

    return rows(30_000, []), rows(0, ["mfa_reset"])


def some(rng, count):
    for n in range(count):
        yield {
            "time_ms": NOW + rng.randrange(60) * 1000, "event_id": rng.choice("xyz"), "offset": n, "document": f'{{"n":{n}}}', "type": rng.choice(("reauth", "mfa_reset")),
            **rng.choice(({"id": rng.choice(NAMES[1:5]), "email": rng.choice((*NAMES[5:], ""))}, {"id": "", "email": rng.choice(NAMES[5:])})),
        }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_person_is_whom_the_report_takes_for_them(store, seed):
    rng = random.Random(seed)
    for _ in range(2):  # delivered again after a crash
        store.insert("sign_ins", sign_ins(*some(random.Random(seed), 60)))
    directory = [{"id": i, "email": rng.choice(NAMES[5:]), "version": 1} for i in rng.sample(NAMES[1:5], rng.randrange(4))]  # fmt: skip
    store.insert("accounts", accounts(*directory))
    everybody = everyone(store)
    for who in (*NAMES[1:], "A@X.example", "nobody"):
        for limit in (3, 100):
            assert of_person(store, everybody, who, limit) == of_report(store, who, limit)


def test_a_store_from_before_gets_its_order_of_people_when_it_is_opened(store, opened):
    client = store._client()
    client.command("DROP VIEW sign_ins_to_people")
    store.insert("sign_ins", sign_ins(*some(random.Random(1), 30)))
    assert of_person(store, everyone(store), "a@x.example") == ([], [])
    store = opened.again()
    expected = of_report(store, "a@x.example")
    assert of_person(store, everyone(store), "a@x.example") == expected != ([], [])
    store.insert(
        "sign_ins", sign_ins({"time_ms": NOW + 59_999, "email": "a@x.example", "offset": 99, "document": "new"})
    )
    assert of_person(store, everyone(store), "a@x.example") == (["new", *expected[0]], expected[1])
