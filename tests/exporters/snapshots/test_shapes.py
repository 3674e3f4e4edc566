"""What snapshots say without any server."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from exporters.reports.columns import ACTIVE, Active
from exporters.snapshots.everyone import Everyone, Member
from exporters.snapshots.quarters import _runs
from exporters.snapshots.shapes import Head, Snapshot, active_row, active_totals, edges

COUNT = st.integers(0, 2**64 - 1)
PEOPLE = st.builds(
    Active,
    st.text(min_size=1),
    st.integers(0, 2_000_000_000_000),
    *[COUNT] * 9,
    st.lists(st.sampled_from(["10.0.0.1", "2001:db8::1"]), max_size=2).map(" ".join),
)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_sums_beyond_64_bits_are_said_as_they_are():
    row = msgspec.json.encode(active_row(Active("x", 0, 1, 0, 0, 2**65, 2**65, 0, 0, 0, 0, "")))
    assert json.loads(row)["total_bytes"] == 2**66


@given(PEOPLE)
def test_a_row_says_what_the_reports_columns_say(person):
    row = active_row(person)
    said = {c.name: c.of(msgspec.structs.replace(person, person="plain")) for c in ACTIVE}
    assert row.pop("user_email") == person.person
    assert " ".join(row.pop("top_10_client_ips")) == person.top
    for name in ("percent_relay", "percent_p2p"):
        share = row.pop(name)
        assert ("" if share is None else f"{share:.2f}") == said[name]
    assert {k: v or "" if k == "last_access_date" else v for k, v in row.items()} == {k: said[k] for k in row}
    assert {*row, "user_email", "percent_relay", "percent_p2p", "top_10_client_ips"} == {c.name for c in ACTIVE}


@given(st.lists(PEOPLE, max_size=30, unique_by=lambda p: p.person), st.integers(1, 7))
def test_pages_of_any_size_hold_every_row_once(people, limit):
    people = sorted(people, key=lambda p: p.person)
    head = Head(
        kind="active", window="24h", version=1, from_ms=0, to_ms=1, complete_through=0, made_at=0, count=0, totals={}
    )
    snapshot = Snapshot(head, [(p.person,) for p in people], [p.person.encode() for p in people])
    found, place = [], None
    while True:
        rows, place = snapshot.page(place, limit)
        found += rows
        if place is None:
            break
    assert found == [p.person.encode() for p in people]


def test_a_window_ends_with_the_quarter_hour_that_has_begun():
    assert edges("24h", ms("2026-03-27T10:07:13")) == (ms("2026-03-26T10:15"), ms("2026-03-27T10:15"))
    assert edges("7d", ms("2026-03-27T10:00:00")) == (ms("2026-03-20T10:15"), ms("2026-03-27T10:15"))


def test_totals_are_the_sums_of_the_rows():
    people = [Active(f"u{n}", 1, n, 1, 2, 100 * n, n, n, 1, 0, 0, "") for n in range(20)]
    totals = active_totals(people)
    assert totals["active_users"] == 20
    assert totals["total_connections"] == sum(range(20)) + 60
    assert totals["total_bytes"] == 101 * sum(range(20))
    assert [t["user_email"] for t in totals["top_users"]] == [f"u{n}" for n in range(19, 9, -1)]


def test_the_inactive_are_the_directorys_and_without_one_everybody_ever_seen():
    last = {"a@x": 50, "b@x": 500, "stranger": 10}
    known = Everyone(
        {"a@x": Member("active", "", ()), "new@x": Member("pending", "", ())}, {"a@x": [("1", "a@x")]}, {}, {}, last, {}
    )
    assert [(i.person, i.last_ms) for i in known.inactive(100, 1000)] == [("new@x", 0), ("a@x", 50)]
    unknown = Everyone({}, {name: [] for name in ("only-signed-in", *last)}, {}, {}, last, {})
    assert [i.person for i in unknown.inactive(100, 1000)] == ["only-signed-in", "stranger", "a@x"]


@given(st.sets(st.integers(0, 3000).map(lambda n: n * 900)))
def test_changed_quarter_hours_are_all_read_again(quarters):
    runs = list(_runs(quarters, 0, 2_000_000))
    assert all(sum(a <= q < b for a, b in runs) == 1 for q in quarters if q < 2_000_000)
    assert runs == sorted(runs)


@given(st.lists(PEOPLE, max_size=5))
def test_rows_and_totals_are_json_however_large(people):
    assert [json.loads(msgspec.json.encode(active_row(p))) for p in people] == [active_row(p) for p in people]
    assert json.loads(msgspec.json.encode(active_totals(people)))["total_bytes"] == sum(
        p.transferred + p.received for p in people
    )
