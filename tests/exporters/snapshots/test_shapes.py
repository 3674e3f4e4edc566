"""What snapshots say without any server."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from exporters.reports.columns import Active
from exporters.snapshots.everyone import Everyone, Member
from exporters.snapshots.quarters import _runs
from exporters.snapshots.shapes import SUMMED_AT_ONCE, Head, Snapshot, active_totals, edges

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


@given(st.lists(PEOPLE, max_size=30, unique_by=lambda p: p.person), st.integers(1, 7))
def test_pages_of_any_size_hold_every_row_once(people, limit):
    people = sorted(people, key=lambda p: p.person)
    head = Head(
        kind="active", window="24h", version=1, from_ms=0, to_ms=1, complete_through=0, made_at=0, count=0, totals={}
    )
    snapshot = Snapshot(head, [p.person for p in people], [p.person.encode() for p in people])
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
    many = 2 * SUMMED_AT_ONCE + 20
    people = [Active(f"u{n}", 1, n, 1, 2, 100 * n, n, n, 1, 0, 0, "") for n in range(many)]
    totals = active_totals(people)
    assert totals["active_users"] == many
    assert totals["total_connections"] == sum(range(many)) + 3 * many
    assert totals["total_bytes"] == 101 * sum(range(many))
    assert [t["user_email"] for t in totals["top_users"]] == [f"u{n}" for n in range(many - 1, many - 11, -1)]


def test_the_inactive_are_the_directorys_and_without_one_everybody_ever_seen():
    last = {"a@x": 50, "b@x": 500, "stranger": 10}
    members = {"a@x": Member("active", "", ()), "new@x": Member("pending", "", ())}
    known = Everyone(["a@x", "new@x"], members, {"a@x": [("1", "a@x")]}, {}, {}, last, {})
    assert [(i.person, i.last_ms) for i in known.inactive(100, 1000)] == [("new@x", 0), ("a@x", 50)]
    unknown = Everyone(sorted(["only-signed-in", *last]), {}, {}, {}, {}, last, {})
    assert [i.person for i in unknown.inactive(100, 1000)] == ["only-signed-in", "stranger", "a@x"]


@given(st.sets(st.integers(0, 3000).map(lambda n: n * 900)))
def test_changed_quarter_hours_are_all_read_again(quarters):
    runs = list(_runs(quarters, 0, 2_000_000))
    assert all(sum(a <= q < b for a, b in runs) == 1 for q in quarters if q < 2_000_000)
    assert runs == sorted(runs)


@given(st.lists(PEOPLE, max_size=5))
def test_totals_are_json_however_large(people):
    assert json.loads(msgspec.json.encode(active_totals(people)))["total_bytes"] == sum(
        p.transferred + p.received for p in people
    )


@given(st.lists(st.integers(0, 3), max_size=40))
def test_the_busiest_come_first_and_equals_by_name(volumes):
    people = [Active(f"u{n:02d}", 1, 1, 0, 0, volume, 0, 0, 0, 0, 0, "") for n, volume in enumerate(volumes)]
    said = [(t["total_bytes"], t["user_email"]) for t in active_totals(people)["top_users"]]
    assert said == sorted(((p.transferred, p.person) for p in people), key=lambda t: (-t[0], t[1]))[:10]
