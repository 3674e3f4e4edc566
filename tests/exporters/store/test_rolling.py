"""The rolling windows against the Active Users report over the same windows, whatever changes and however old it is."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from exporters.reports.columns import ACTIVE, Active
from exporters.snapshots.rolling import DAY_MS, HOT_MS, QUIET_MS, Rolling
from exporters.snapshots.shapes import WINDOWS, edges
from exporters.store.changes import Changed
from exporters.store.store import at
from tests.exporters.store import plain
from tests.exporters.store.rows import START, accounts, connections

pytestmark = pytest.mark.xdist_group("store")

QUARTER_MS = 900_000
PEOPLE = [
    ("", "d@x.example"),
    ("", "w\"e\\i/r'd\n\t<é😀`@x.example"),
    *((str(n), f"{'abc'[n % 3]}@x.example") for n in range(5)),
]
ADDRESSES = "ijklmnopqrstuvwxyz"


class World:
    """A store that changes, and its windows."""

    def __init__(self, store, seed):
        self.store, self.rng = store, random.Random(seed)
        self.now = START * 1000 + 40 * DAY_MS + 5 * 3_600_000
        self.rolling = Rolling(store, "test")
        self.version = 0
        self.rows, self.accounts = {}, {}
        self.changed = Changed()

    def change(self, age_ms):
        bucket = (self.now - age_ms) // QUARTER_MS * QUARTER_MS // 1000
        id_, email = self.rng.choice(PEOPLE)
        self.version += 1
        row = {
            "id": id_, "email": email, "bucket": bucket, "first": self.rng.randrange(2), "version": self.version, "success": self.rng.randrange(4),
            "failed_dns": self.rng.randrange(2), "bytes_received": self.version, "last_access": self.now - age_ms,
            "client_ips": [(a, self.rng.randrange(1, 4)) for a in sorted(self.rng.sample(ADDRESSES, 6))], "devices": [self.rng.choice("pqr")],
        }  # fmt: skip
        self.rows[id_, email, bucket, row["first"]] = row
        self.store.insert("connections", connections(row))
        self.changed.add(Changed({bucket}, set(), {(id_, email)}))

    def name(self):
        """The directory calls somebody otherwise."""
        id_ = self.rng.choice(PEOPLE[1:])[0]
        self.version += 1
        self.accounts[id_] = f"{self.rng.choice('abcde')}@x.example"
        self.store.insert("accounts", accounts({"id": id_, "email": self.accounts[id_], "version": self.version}))
        self.changed.add(Changed(set(), set(), set(), accounts=True))

    def look(self):
        """What the snapshotter does."""
        changed, self.changed = self.changed, Changed()
        self.rolling.change(changed, self.now)
        self.rolling.settle(edges(WINDOWS[-1], self.now)[0], self.now)
        windows = [edges(w, self.now) for w in WINDOWS]
        return self.rolling.people(windows, windows[1]), changed

    def reports(self):
        """By adding up everything there is."""
        ends = [tuple(ms // 1000 for ms in edges(w, self.now)) for w in WINDOWS]
        return [{a.person: a for a in plain.active(self.rows.values(), self.accounts, e, ends[1])} for e in ends]


def as_reports(people):
    """Without what the snapshot says of each."""
    return [{p: Active(*msgspec.structs.astuple(a)[:-1]) for p, a in window.items()} for window in people]


def said_by_columns(row):
    """A snapshot's row as the columns of the report say it."""
    said = json.loads(row)
    said["top_10_client_ips"] = " ".join(said["top_10_client_ips"])
    for name in ("percent_relay", "percent_p2p"):
        said[name] = "" if said[name] is None else f"{said[name]:.2f}"
    return said | {"last_access_date": said["last_access_date"] or ""}


@pytest.mark.parametrize("seed", range(4))
def test_windows_are_the_reports_whatever_changes(store, seed):
    world = World(store, seed)
    ages = (0, HOT_MS // 2, HOT_MS + QUARTER_MS, 5 * HOT_MS, DAY_MS, 8 * DAY_MS, 29 * DAY_MS, 31 * DAY_MS)
    for step in range(16):
        if step % 5 == 4:
            world.name()
        for _ in range(world.rng.randrange(4)):
            world.change(world.rng.choice(ages) + world.rng.randrange(QUARTER_MS))
        world.now += world.rng.choice((1_000, 1_000, QUARTER_MS, QUIET_MS, 3 * HOT_MS))
        found, changed = world.look()
        expected = world.reports()
        assert as_reports(found) == expected
        called = {p: plain.person({"id": p[0], "email": p[1]}, world.accounts) for p in PEOPLE}
        theirs = {called[p] for p in changed.seen}
        windows = [edges(w, world.now) for w in WINDOWS]
        some = world.rolling.people(windows, windows[1], [p for p in PEOPLE if called[p] in theirs])
        assert as_reports(some) == [
            {person: a for person, a in people.items() if person in theirs} for people in expected
        ]


def test_what_a_snapshot_says_of_somebody_is_what_the_reports_columns_say(store):
    world = World(store, 5)
    many = 2**64 - 1
    names = [
        "=1+1@x.example",
        "zoë\"\\/\t\n\u0001'`@x.example",
        "quiet@x.example",
        *(f"u{n}@x.example" for n in range(300)),
    ]
    shares = [(0, 1), (0, 0), (0, 0), (1, 799), (3, 797), (1, 2), (0, 5), *((world.rng.randrange(2000), world.rng.randrange(2000)) for _ in names)]  # fmt: skip
    rows = []
    for n, (person, share) in enumerate(zip(names, shares, strict=False)):
        for first, (relay, p2p) in enumerate((share, (0, 0))):
            rows.append({
                "email": person, "bucket": world.now // 1000 // 900 * 900, "first": first, "version": n, "success": 5 * n, "failed_dns": 3, "failed_other": 1,
                "relay": relay, "p2p": p2p, "bytes_transferred": many, "bytes_received": many, "last_access": n % 3 and world.now + first,
                "client_ips": [("2001:db8::1", 2), ("10.0.0.1", 3)] if n else [], "devices": ["p", f"q{first}"],
            })  # fmt: skip
    store.insert("connections", connections(*rows))
    found = world.look()[0][0]
    assert {p: json.loads(a.row)["user_email"] for p, a in found.items()} == {p: p for p in names}
    for counted in found.values():
        said = {c.name: c.of(counted) for c in ACTIVE} | {"user_email": counted.person}  # files guard against formulas
        assert said_by_columns(counted.row) == said
    assert found["quiet@x.example"].transferred == 2 * many


def test_devices_of_more_days_than_any_window_are_counted_all_the_same(store):
    world = World(store, 6)
    long = (edges("30d", world.now)[0] - 5 * DAY_MS, edges("30d", world.now)[1])
    for age_days, device in ((0, "new"), (33, "old")):
        at_ms = world.now - age_days * DAY_MS
        store.insert("connections", connections({"email": "a@x.example", "bucket": at_ms // 1000 // 900 * 900, "version": 1, "success": 1, "last_access": at_ms, "devices": [device]}))  # fmt: skip
    world.rolling.settle(long[0], world.now)
    people = world.rolling.people([edges(w, world.now) for w in WINDOWS], long)
    assert [[(a.success, a.devices) for a in window.values()] for window in people] == [[(1, 2)]] * 3


def test_late_events_are_added_up_once_and_not_at_every_look(store, monkeypatch):
    world = World(store, 7)
    world.change(0)
    world.look()
    ran = []
    run = store.run
    monkeypatch.setattr(store, "run", lambda name, **parameters: (ran.append(name), run(name, **parameters))[1])
    for n in range(5):
        world.change(3 * HOT_MS - n * QUARTER_MS)  # each younger than the one before
        found, _ = world.look()
        assert as_reports(found) == world.reports()
    assert ran.count("recent") == 1


def test_a_late_event_makes_looks_dear_only_until_the_windows_move(store, monkeypatch):
    world = World(store, 8)
    hot, rows = [], store.rows

    def noted(query, **parameters):
        hot.append(parameters.get("a"))
        return rows(query, **parameters)

    monkeypatch.setattr(store, "rows", noted)
    for age in (0, 5 * HOT_MS):
        world.change(age)
        world.look()
    world.now += QUARTER_MS
    world.look()
    end = edges(WINDOWS[0], world.now)[1]
    assert [h == at(end - HOT_MS) for h in hot[1:]] == [False, True]
    assert hot[1] < hot[0]
