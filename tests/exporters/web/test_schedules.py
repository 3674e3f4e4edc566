"""Schedules over the API and on the page, and the mail that comes of a report: on the whole system."""

from __future__ import annotations

import csv
import gzip
import io
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.exporters.web.test_reports_page import at, choose, downloaded, finished
from tests.live.system import eventually

PLAN = {"name": "Nightly", "every": "daily", "at": "06:15", "tz": "Asia/Kathmandu", "kind": "active"}


@pytest.fixture
def schedule(api):
    made = api.post("/api/v1/schedules", json=PLAN)
    assert made.status_code == 201
    yield made.json()
    api.delete(f"/api/v1/schedules/{made.json()['id']}")


def test_a_schedule_says_when_it_is_due_next_and_is_changed_paused_and_deleted(api, schedule):
    path = f"/api/v1/schedules/{schedule['id']}"
    due = datetime.fromtimestamp(schedule["next_due"] / 1000, ZoneInfo("Asia/Kathmandu"))
    assert (due.hour, due.minute) == (6, 15)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
    changed = api.put(path, json=PLAN | {"every": "monthly", "day": 31, "at": "23:45", "tz": "UTC"}).json()
    due = datetime.fromtimestamp(changed["next_due"] / 1000, UTC)
    assert (due.hour, due.minute, (due + timedelta(days=1)).day) == (23, 45, 1)
    assert api.post(f"{path}/pause").json()["next_due"] is None
    assert api.post(f"{path}/resume").json()["next_due"] == changed["next_due"]
    assert [s["id"] for s in api.get("/api/v1/schedules").json()["schedules"]] == [schedule["id"]]
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_run_now_makes_a_report_and_the_schedule_goes_on_as_it_was(api, schedule):
    path = f"/api/v1/schedules/{schedule['id']}"
    run = api.post(f"{path}/run").json()
    ready = eventually(lambda: (r := api.get(f"/api/v1/reports/{run['run']}").json())["state"] == "ready" and r)
    assert (ready["schedule"], ready["due"], ready["kind"]) == (schedule["id"], None, "active")
    assert [r["run"] for r in api.get(f"{path}/reports").json()["reports"]] == [run["run"]]
    assert api.get(path).json()["next_due"] == schedule["next_due"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "06:10"},
        {"at": "24:00"},
        {"tz": "Europe/Nowhere"},
        {"every": "hourly"},
        {"weekday": 7},
        {"day": 0},
        {"name": " "},
        {"name": "a\nb"},
        {"recipients": ["nobody"]},
        {"kind": "all"},
        {"reason": "weather"},
        {"preset": "1y"},
        {"more": 1},
    ],
)
def test_what_no_schedule_can_be_is_refused_by_name(api, wrong):
    answer = api.post("/api/v1/schedules", json=PLAN | wrong)
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["error"]["message"]
    assert api.get("/api/v1/schedules").json()["schedules"] == []


def test_a_report_is_mailed_and_its_link_leads_to_the_very_file(system, api, stream, visit):
    """The journey: asked for with a recipient, watched, mailed, opened from the mail, downloaded, equal to the oracle."""
    page = visit(zone="Europe/Berlin")
    choose(page, "active", "2026-03-29T00:00", "2026-03-30T00:00", "Europe/Berlin")
    page.fill("#recipients", "jane@x.example, joe@x.example")
    page.get_by_role("button", name="Generate").click()
    finished(page)
    newest = api.get("/api/v1/reports", params={"limit": 1}).json()["reports"][0]

    def arrived():
        page.goto(f"{system.stack.url}/inbox")
        return page.locator("tbody tr", has_text="jane@x.example, joe@x.example").count()

    eventually(arrived)
    page.locator("tbody tr th a").first.click()
    text = page.locator("pre.mail").inner_text()
    assert f"{newest['rows']}" in text
    assert "2026-03-29 00:00 to 2026-03-30 00:00 Europe/Berlin" in text
    assert "2026-03-28 23:00 to 2026-03-29 22:00 UTC" in text
    assert f"<run-{newest['run']}@localhost>" in page.locator("dd code").inner_text()
    page.get_by_role("link", name="Show formatted").click()
    frame = page.frame_locator("iframe.mail")
    frame.get_by_role("link", name="Open the report").wait_for()
    link = re.search(r"http\S+/settings/reports/runs/\w+", text)[0]
    page.goto(link)
    assert "sent" in page.locator(".facts", has_text="Mail to").inner_text()
    _, body = downloaded(page, page.get_by_role("link", name="Download", exact=True))
    rows = list(csv.reader(io.StringIO(gzip.decompress(body).decode(), newline="")))
    expected = system.oracle(stream.accounts()).active(
        at("2026-03-29", "Europe/Berlin"), at("2026-03-30", "Europe/Berlin"), newest["requested_at"]
    )
    assert rows[1:] == expected


def test_a_schedule_is_made_on_the_page_run_and_its_history_shown(api, visit):
    page = visit("/settings/schedules", zone="America/St_Johns")
    page.fill("#name", "Monday <b>morning</b>")
    page.check("input[name=kind][value=inactive]")
    page.check("input[name=every][value=weekly]", force=True)
    page.select_option("#weekday", label="Monday")
    page.fill("#at", "06:30")
    page.fill("#recipients", "jane@x.example")
    page.get_by_role("button", name="Make schedule").click()
    row = page.locator("tbody tr")
    assert "Every Monday at 06:30, America/St_Johns" in row.inner_text()
    assert "06:30" in row.locator("[data-label=Next]").inner_text()
    row.get_by_role("button", name="Run now").click()
    finished(page)
    page.goto(page.url.split("/settings")[0] + "/settings/schedules")
    row.get_by_role("link", name="Monday <b>morning</b>").click()
    assert page.locator("tbody tr .badge.ready").count() == 1
    page.get_by_role("link", name="Edit").click()
    assert page.input_value("#at") == "06:30"
    page.fill("#at", "07:10")
    page.locator("form.ask").evaluate("form => form.noValidate = true")
    page.get_by_role("button", name="Save").click()
    assert "quarter of an hour" in page.locator(".fault").inner_text()
    page.fill("#at", "07:15")
    page.get_by_role("button", name="Save").click()
    row.locator("summary").click()
    row.get_by_role("button", name="Pause").click()
    assert row.locator(".badge", has_text="paused").count() == 1
    row.locator("summary").click()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="No schedules yet").wait_for()
    assert api.get("/api/v1/schedules").json()["schedules"] == []


@pytest.mark.parametrize("path", ["/settings/schedules", "/inbox"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, path, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(path, color_scheme=scheme)
    assert Axe().run(page).response["violations"] == []


def test_a_caught_mail_can_do_nothing_in_the_page(system, signed_in):
    kept = system.stack.data / "mail"
    kept.mkdir(exist_ok=True)
    name = "1774600000000-0123456789ab"
    (kept / f"{name}.eml").write_bytes(
        b"Subject: <script>alert(1)</script>\r\nTo: x@x.example\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: text/html; charset="utf-8"\r\n\r\n<script>alert(2)</script><img src="http://x.example/a">'
    )
    listed = signed_in.get("/inbox")
    assert "<script>alert(1)" not in listed.text
    framed = signed_in.get(f"/inbox/{name}/html")
    policy = framed.headers["content-security-policy"]
    assert policy.startswith("sandbox;")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    (kept / f"{name}.eml").unlink()
    for path in (name, "..%2fup.lock", "x"):
        assert signed_in.get(f"/inbox/{path}").status_code == 404
