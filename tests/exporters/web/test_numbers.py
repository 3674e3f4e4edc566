"""The rolling windows on a real system: what the API, Redis and the overview say is what the reports say."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest

from exporters import redis
from exporters.snapshots.shapes import WINDOWS
from pipeline.model.times import iso
from tests.live.system import eventually
from tests.streams import Line, Stream

DAY = 86_400_000


def pages(api, path, **parameters):
    """All rows of a list, in small pages."""
    rows, cursor = [], ""
    while cursor is not None:
        answer = api.get(path, params={"limit": 17, "after": cursor, **parameters})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        rows += body["rows"]
        cursor = body["next"]
    return body, rows


def settled(api):
    """Snapshots that hold everything produced before this call."""
    since = int(time.time() * 1000)

    def through():
        answer = api.get("/api/v1/snapshots/active")
        return answer.status_code == 200 and (answer.json()["complete_through"] or 0) >= since

    return eventually(through)


@pytest.fixture(scope="module")
def recent(system, api):
    """Events up to this moment, late ones among them."""
    now = int(time.time() * 1000)
    system.produce(Stream(29, start_ms=now - 9 * DAY, days=9).lines(3_000))
    settled(api)
    return now


def event(user, at, **more):
    body = {
        "event_type": "closed_connection",
        "timestamp": at,
        "user": {"id": user, "email": f"{user}@corp.example.com"},
    }
    connection = {"id": f"{user}-{at}", "client_ip": "203.0.113.9", "rx": 10, "tx": 5, "tunnel_path": "relay"}
    return Line("connections", user.encode(), json.dumps(body | {"connection": connection | more}).encode())


def same_as_the_reports(system, api):
    for window, days in zip(WINDOWS, (1, 7, 30), strict=True):
        head, rows = pages(api, "/api/v1/snapshots/active", window=window)
        ends = {"from": iso(head["from_ms"]), "to": iso(head["to_ms"]), "tz": "UTC"}
        _, body = system.report(kind="active", **ends)
        cells = [
            [
                r["user_email"],
                r["last_access_date"] or "",
                *(str(v) for v in list(r.values())[2:10]),
                *("" if r[n] is None else f"{r[n]:.2f}" for n in ("percent_relay", "percent_p2p")),
                str(r["active_devices"]),
                str(r["num_of_client_ip"]),
                " ".join(r["top_10_client_ips"]),
            ]
            for r in rows
        ]
        written = [[c.removeprefix("'") for c in row] for row in csv.reader(io.StringIO(body.decode(), newline=""))]
        assert cells == written[1:]
        assert cells
        _, rows = pages(api, "/api/v1/snapshots/inactive", window=window)
        _, body = system.report(kind="inactive", as_of=iso(head["to_ms"]), days=days)
        assert [
            [
                r["user_email"],
                r["last_access_date"] or "",
                "never" if r["days_since_last_access"] is None else str(r["days_since_last_access"]),
                r["state"],
                r["created_date"] or "",
            ]
            for r in rows
        ] == [[c.removeprefix("'") for c in row] for row in csv.reader(io.StringIO(body.decode(), newline=""))][1:]
        head, rows = pages(api, "/api/v1/snapshots/authentication", window=window)
        _, body = system.report(kind="authentication", **ends)
        assert sum(r["count"] for r in rows) == head["totals"]["sign_ins"] == len(body.splitlines())
        _, body = system.report(kind="authentication", **ends, result="failure")
        assert head["totals"]["failures"] == len(body.splitlines())


def test_snapshots_are_the_reports_over_the_same_windows(system, api, recent):
    same_as_the_reports(system, api)


def test_a_late_event_in_a_day_that_was_added_up_before_counts(system, api, recent):
    before = api.get("/api/v1/snapshots/active", params={"window": "7d"}).json()["totals"]["total_connections"]
    system.produce([event(f"late-{n}", recent - n * DAY - 1_000) for n in range(1, 6)])
    settled(api)
    assert (
        api.get("/api/v1/snapshots/active", params={"window": "7d"}).json()["totals"]["total_connections"] == before + 5
    )
    same_as_the_reports(system, api)


def test_one_person_under_two_names_is_added_up_when_only_one_of_them_moves(system, api, recent):
    def total():
        _, rows = pages(api, "/api/v1/snapshots/active", window="7d")
        return {r["user_email"]: r["success_connections"] for r in rows}

    named = event("twice", recent - 2 * DAY)
    nameless = Line(named.topic, named.key, named.value.replace(b'"id": "twice", ', b"").replace(b"twice-", b"again-"))
    system.produce([named, nameless])
    settled(api)
    before = total()
    assert before["twice@corp.example.com"] == 2
    system.produce([event("twice", recent - DAY)])
    settled(api)
    assert total() == before | {"twice@corp.example.com": 3}
    same_as_the_reports(system, api)


def test_redis_holds_what_the_api_says_and_tells_when_it_changes(system, api, recent):
    client = redis.connect(system.settings)
    told = redis.connect(system.settings, answer_seconds=None).pubsub(ignore_subscribe_messages=True)
    told.subscribe("activity:snapshots")
    settled(api)

    def text(*parts):
        return json.loads(client.get(":".join(("activity", "snapshot", *parts))) or "null")

    def agrees():
        head, rows = pages(api, "/api/v1/snapshots/active", window="7d")
        kept = text("active", "7d")
        found = [row for n in range(kept["pages"]) for row in text("active", "7d", "rows", str(n))]
        return kept["version"] == head["version"] and found == rows and kept["totals"] == head["totals"]

    assert eventually(agrees)
    before = text("version")
    system.produce([event("newcomer", int(time.time() * 1000))])
    message = eventually(
        lambda: (m := told.get_message(timeout=1)) and json.loads(m["data"])["version"] > before["version"]
    )
    assert message
    assert eventually(lambda: any(r["user_email"].startswith("newcomer") for r in text("active", "24h", "rows", "0")))
    assert (
        sum(p["success"] for p in text("series")["connections"])
        == text("active", "30d")["totals"]["success_connections"]
    )


def test_an_emptied_redis_is_filled_again_without_any_event(system, api, recent):
    client = redis.connect(system.settings)
    settled(api)
    client.flushall()
    assert eventually(lambda: client.get("activity:snapshot:active:30d:rows:0"))


def test_without_redis_numbers_go_on_and_the_page_says_so(system, api, signed_in, recent):
    redis_process = system.stack.child("redis")
    redis_process.stop(5)
    try:
        assert eventually(lambda: "Redis is away" in signed_in.get("/overview").text)
        system.produce([event("without-redis", int(time.time() * 1000))])
        assert eventually(
            lambda: any(
                r["user_email"].startswith("without-redis")
                for r in pages(api, "/api/v1/snapshots/active", window="24h")[1]
            )
        )
    finally:
        redis_process.start()
    assert eventually(lambda: "Redis is away" not in signed_in.get("/overview").text)


@pytest.mark.parametrize(
    "query",
    ["window=1h", "window=", "limit=0", "limit=1001", "limit=x", "after=x", "after=W10", "after=WzFd", "after=%00"],
)
def test_what_cannot_be_asked_is_refused_in_one_shape(api, query):
    answer = api.get(f"/api/v1/snapshots/active?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_request"


@pytest.mark.parametrize("deaf", ["**/overview/numbers*", "**/events*"], ids=["by its events", "by asking"])
def test_the_overview_shows_the_snapshots_and_follows_them(system, api, recent, visit, deaf):
    page = visit()
    page.route(deaf, lambda route: route.abort())
    page.goto(f"{system.stack.url}/overview?window=7d")
    page.wait_for_selector("#numbers")
    page.click("#table-of-days")
    page.evaluate("scrollTo(0, 500)")
    shown = int("".join(filter(str.isdigit, page.inner_text("#connections-24h"))))
    system.produce([event(f"live-{n}", int(time.time() * 1000)) for n in range(3)])
    page.wait_for_function(
        "n => Number(document.querySelector('#connections-24h').innerText.replace(/\\D/g, '')) === n", arg=shown + 3
    )
    assert page.locator("nav.pills [aria-current]").inner_text() == "7 days"
    assert page.locator("#table-days tbody tr").count() > 5
    assert page.is_visible("#table-days")
    assert page.evaluate("scrollY") == 500
    assert page.locator("svg[role=img] > desc").count() == 3


def test_the_overview_is_complete_without_javascript(api, recent, visit):
    page = visit("/overview", script=False)
    totals = api.get("/api/v1/snapshots/active").json()["totals"]
    assert int("".join(filter(str.isdigit, page.inner_text("#active-24h")))) == totals["active_users"]
    with page.expect_navigation():
        page.click("nav.pills >> text=30 days")
    assert page.locator("#top tbody tr").count() == 10
