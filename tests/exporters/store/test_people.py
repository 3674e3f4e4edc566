"""One person's sign-ins, found in the order of people, are those that the report finds in the order of time."""

from __future__ import annotations

import random

import pytest

from exporters.snapshots.everyone import Census
from exporters.snapshots.shapes import WINDOWS
from exporters.store.changes import Changed
from tests.exporters.store.rows import START, accounts, sign_ins

pytestmark = pytest.mark.xdist_group("store")

NOW = START * 1000
NAMES = ("", "1", "2", "3", "4", "a@x.example", "b@x.example", "c@x.example")
FIRST = {"at": 2**62, "event": "", "part": 0, "offset": 0}


def everyone(store):
    census = Census(store)
    census.read(Changed())
    return census.everyone(Changed(), NOW, {w: {} for w in WINDOWS}, WINDOWS[-1])


def of_person(store, everybody, who, types=(), limit=100):
    principals = everybody.meant(who)
    ids = [i for i, _ in principals]
    window = {"a": NOW - 1_000, "b": NOW + 40}
    rows = store.rows(
        "person_sign_ins", ids=ids, principals=principals, **window, types=list(types), limit=limit
    )  # fmt: skip
    return [document for (document,) in rows] if principals else []


def of_report(store, who, types=(), limit=100):
    window = {"a": NOW - 1_000, "b": NOW + 40, "who": who, "folded": who.casefold(), "result": "", "reason": ""}
    return [row[4] for row in store.rows("sign_ins_page", **window, types=list(types), **FIRST, limit=limit)]


def some(rng, count):
    for n in range(count):
        yield {
            "time_ms": NOW + rng.randrange(60), "event_id": rng.choice("xyz"), "offset": n, "document": f'{{"n":{n}}}', "type": rng.choice(("reauth", "mfa_reset")),
            **rng.choice(({"id": rng.choice(NAMES[1:5]), "email": rng.choice((*NAMES[5:], ""))}, {"id": "", "email": rng.choice(NAMES[5:])})),
        }  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_a_person_is_whom_the_report_takes_for_them(store, seed):
    rng = random.Random(seed)
    for _ in range(2):  # delivered again after a crash
        store.insert("sign_ins", sign_ins(*some(random.Random(seed), 60)))
    directory = [{"id": i, "email": rng.choice(NAMES[5:]), "version": 1} for i in rng.sample(NAMES[1:5], rng.randrange(4))]  # fmt: skip
    store.insert("accounts", accounts(*directory))
    everybody = everyone(store)
    for who in (*NAMES[1:], "A@X.example", "nobody"):
        assert of_person(store, everybody, who) == of_report(store, who)
        assert of_person(store, everybody, who, ["mfa_reset"], 3) == of_report(store, who, ["mfa_reset"], 3)


def test_a_store_from_before_gets_its_order_of_people_when_it_is_opened(store, opened):
    client = store._client()
    client.command("DROP VIEW sign_ins_to_people")
    store.insert("sign_ins", sign_ins(*some(random.Random(1), 30)))
    assert of_person(store, everyone(store), "a@x.example") == []
    store = opened.again()
    expected = of_report(store, "a@x.example")
    assert of_person(store, everyone(store), "a@x.example") == expected != []
    store.insert("sign_ins", sign_ins({"time_ms": NOW, "email": "a@x.example", "offset": 99, "document": "new"}))
    assert len(of_person(store, everyone(store), "a@x.example")) == len(expected) + 1
