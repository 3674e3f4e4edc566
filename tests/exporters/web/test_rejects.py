"""Rejects on the page and in the API: the same as `activity rejects`, shown safely, replayed by administrators."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.web.pages.rejects import dump, shown
from pipeline import topics
from pipeline.intake.records import read
from tests.exporters.web.test_numbers import settled
from tests.live.system import eventually
from tests.streams import Line

RIGHT_TO_LEFT = b'{"hello":"\xe2\x80\xaeevil<script>alert(1)</script>\x00\x1b[31m"}'
NOT_TEXT = b"\xff\xfe\x00binary"


@pytest.fixture(scope="module")
def refused(system, api):
    """A few rejects of our own beside those of the session's stream."""
    now = int(time.time() * 1000)
    early = json.dumps({"event_type": "closed_connection", "timestamp": 5, "user": {"id": "1"}}).encode()
    system.produce(
        [
            Line("connections", b"k", RIGHT_TO_LEFT),
            Line("connections", None, NOT_TEXT),
            Line("connections", b"k", early),
        ]
    )
    settled(api)
    eventually(lambda: any(r["at"] >= now and r["reason"] == "not_utf8" for r in listed(api)))
    return now


def listed(api, **filters):
    found, after = [], ""
    while after is not None:
        body = api.get("/api/v1/rejects", params={"limit": 9, "after": after, **filters}).json()
        found += body["rejects"]
        after = body["next"]
    return found


def test_the_list_is_the_command_lines(system, api, refused):
    said = json.loads(system.activity("rejects", "list", "--json", "--limit", "100000").stdout)
    found = listed(api)
    assert {r["id"]: (r["reason"], r["path"], r["bytes"]) for r in found} == {
        r["id"]: (r["reason"], r["path"], r["bytes"]) for r in said["rejects"]
    }
    counts = api.get("/api/v1/rejects").json()["counts"]
    assert counts == said["counts"] == Counter(r["reason"] for r in found)
    assert [r["at"] for r in found] == sorted((r["at"] for r in found), reverse=True)
    assert {r["reason"] for r in listed(api, reason="bad_time")} == {"bad_time"}


def test_the_bytes_are_those_of_the_topic(system, api, refused):
    kept = {(r.partition, r.offset): r.value for r in read(system.settings, topics.REJECTS)}
    for reject in listed(api):
        value = base64.b64decode(api.get(f"/api/v1/rejects/{reject['id']}").json()["value"])
        assert len(value) == reject["bytes"]
        assert value in kept.values()


def test_a_replay_is_the_same_reject_with_a_new_time(system, api, signed_in, refused):
    reject = next(r for r in listed(api, reason="bad_time") if r["at"] >= refused)
    count = api.get("/api/v1/rejects").json()["counts"]["bad_time"]
    answer = signed_in.post("/rejects/replay", data={"id": reject["id"], "word": signed_in.word})
    assert (answer.status_code, answer.headers["location"]) == (303, "/rejects?sent=1")
    assert eventually(
        lambda: any(r["id"] == reject["id"] and r["at"] > reject["at"] for r in listed(api, reason="bad_time"))
    )
    assert api.get("/api/v1/rejects").json()["counts"]["bad_time"] == count
    assert api.post("/api/v1/rejects/replay", json={"reason": "bad_time"}).json()["sent"] == count


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": ["x"], "all": True}, {"reason": "because"}, {"more": 1}, []])
def test_a_replay_of_nothing_in_particular_is_refused(api, body):
    answer = api.post("/api/v1/rejects/replay", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_request"


def test_what_is_not_there_is_said(api, signed_in):
    assert api.get("/api/v1/rejects/activity.connections/0/999999999").status_code == 404
    assert api.post("/api/v1/rejects/replay", json={"ids": ["activity.connections/0/999999999"]}).status_code == 404
    assert signed_in.get("/rejects/nowhere").status_code == 404


def test_bytes_are_shown_without_becoming_anything(api, refused, visit):
    hostile = next(
        r["id"]
        for r in listed(api)
        if r["bytes"] == len(RIGHT_TO_LEFT) and r["at"] >= refused and r["reason"] == "not_json"
    )
    page = visit("/rejects?reason=not_json")
    with page.expect_navigation():
        page.click(f"text={hostile}")
    text = page.inner_text("pre.bytes >> nth=0")
    assert r'{"hello":"\u202eevil<script>alert(1)</script>\u0000\u001b[31m"}' in text
    page.click("#dump-title")
    assert page.inner_text("#dump pre").startswith("0000  7b 22 68 65 6c 6c 6f")


@given(st.binary(max_size=200))
def test_shown_text_has_nothing_invisible(value):
    assert all(c == "\n" or c.isprintable() for c in shown(value))


@given(st.binary(max_size=100))
def test_a_dump_holds_every_byte(value):
    found = b"".join(bytes.fromhex(line[6:53]) for line in dump(value).splitlines())
    assert found == value
