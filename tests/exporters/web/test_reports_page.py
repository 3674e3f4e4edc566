"""The Reports page in a real browser: ask, watch, take the file; and every state a run can be in."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from kafka import KafkaProducer

from exporters.reports.build import Parameters
from exporters.reports.runs import Run
from tests.live.system import eventually
from tests.streams import Stream


def at(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def choose(page, kind, start, end, zone):
    page.check(f"input[name=kind][value={kind}]")
    page.check("input[name=preset][value=custom]", force=True)
    page.fill("#from", start)
    page.fill("#to", end)
    page.select_option("#tz", zone)


def newest(api):
    return api.get("/api/v1/reports").json()["reports"][0]


def finished(page):
    """The row of the run just asked for, when its file is there."""
    row = page.locator("tr.asked")
    row.get_by_role("link", name="Download", exact=True).wait_for(timeout=90_000)
    return row


def downloaded(page, link) -> tuple[str, bytes]:
    with page.expect_download() as taken:
        link.click()
    return taken.value.suggested_filename, taken.value.path().read_bytes()


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("Europe/Berlin", "2026-03-29T00:00", "2026-03-30T00:00"),  # 23 hours
        ("Asia/Kathmandu", "2026-03-28T05:45", "2026-03-30T17:15"),
        ("America/St_Johns", "2026-03-01T00:00", "2026-04-10T00:00"),
    ],
)
def test_a_report_is_asked_for_watched_and_equals_the_oracle(system, api, stream, visit, zone, start, end):
    page = visit(zone=zone)
    choose(page, "active", start, end, zone)
    page.locator("#window dd", has_text=start.replace("T", " ")).wait_for()
    page.get_by_role("button", name="Generate").click()
    row = finished(page)
    name, body = downloaded(page, row.get_by_role("link", name="Download", exact=True))
    assert name == newest(api)["file"]
    assert name.endswith(".csv.gz")
    rows = list(csv.reader(io.StringIO(gzip.decompress(body).decode(), newline="")))
    asked_at = newest(api)["requested_at"]
    expected = system.oracle(stream.accounts()).active(at(start, zone), at(end, zone), asked_at)
    assert rows[1:] == expected
    assert len(expected) > 5
    assert f"{len(expected)}" in row.locator("[data-label=Rows]").inner_text()


def test_the_same_without_script(system, api, stream, visit):
    page = visit(script=False)
    choose(page, "active", "2026-03-29T00:00", "2026-03-30T00:00", "Europe/Berlin")
    addresses = []
    page.on("request", lambda request: addresses.append(request.url))
    page.get_by_role("button", name="Show the range").click()
    assert "word=" not in "".join(addresses)
    assert "2026-03-28 23:00 to 2026-03-29 22:00" in page.locator("#window").inner_text()
    page.get_by_role("button", name="Generate").click()
    page.locator("tr.asked th a").click()
    page.get_by_role("link", name="Download", exact=True).wait_for()  # the page comes anew by itself until then
    _, body = downloaded(page, page.get_by_role("link", name="Download", exact=True))
    rows = list(csv.reader(io.StringIO(gzip.decompress(body).decode(), newline="")))
    expected = system.oracle(stream.accounts()).active(
        at("2026-03-29", "Europe/Berlin"), at("2026-03-30", "Europe/Berlin"), newest(api)["requested_at"]
    )
    assert rows[1:] == expected


def test_one_file_in_three_forms(visit):
    page = visit()
    page.check("input[name=kind][value=inactive]")
    page.fill("#days", "30")
    page.get_by_role("button", name="Generate").click()
    row = finished(page)
    found = {}
    for form in (".csv.gz", ".csv", ".zip"):
        row.locator("summary").click()
        found[form] = downloaded(page, row.get_by_role("link", name=f"Download {form}", exact=True))
        page.keyboard.press("Escape")
    assert all(name.endswith(form) for form, (name, _) in found.items())
    plain = found[".csv"][1]
    assert plain.startswith(b"user_email,")
    assert gzip.decompress(found[".csv.gz"][1]) == plain
    with zipfile.ZipFile(io.BytesIO(found[".zip"][1])) as archive:
        assert archive.namelist() == [found[".csv"][0]]
        entry = archive.getinfo(found[".csv"][0])
        assert (entry.compress_type, entry.extract_version) == (zipfile.ZIP_DEFLATED, zipfile.DEFAULT_VERSION)
        assert archive.read(archive.namelist()[0]) == plain


def test_a_wrong_range_is_said_and_nothing_is_lost(visit):
    page = visit()
    addresses = []
    page.on("request", lambda request: addresses.append(request.url))
    choose(page, "authentication", "2026-03-30T00:00", "2026-03-29T00:00", "Europe/Berlin")
    page.fill("#user", "<b>jane</b>@x.example")
    page.locator("#window", has_text="the window is empty").wait_for()
    assert any("/window?kind=" in address for address in addresses)
    assert "word=" not in "".join(addresses)  # it would lie in logs and histories
    page.get_by_role("button", name="Generate").click()
    assert "the window is empty" in page.get_by_role("alert").inner_text()
    assert page.input_value("#user") == "<b>jane</b>@x.example"
    assert page.input_value("#from") == "2026-03-30T00:00"


def test_cancel_again_edit_and_delete(system, api, visit):
    page = visit()
    worker = system.stack.child("worker")
    system.stack._children.remove(worker)
    worker.stop(20)
    try:
        system.produce([next(iter(system_lines()))])
        choose(page, "authentication", "2026-03-29T00:00", "2026-03-30T00:00", "Europe/Berlin")
        page.fill("#user", "User1@corp.example.com")
        page.get_by_role("button", name="Generate").click()
        row = page.locator("tr.asked")
        row.locator(".badge.waiting").wait_for()
        assert "waits for" in row.inner_text()
        row.get_by_role("button", name="Cancel").click()
        page.locator("#runs tr").nth(1).locator(".badge.cancelled").wait_for()
        page.locator("#runs tr").nth(1).get_by_role("button", name="Run again").click()
        page.locator("tr.asked .badge.waiting").wait_for()
        run_id = page.locator("tr.asked").get_attribute("id").removeprefix("run-")
    finally:
        worker.start()
        system.stack._children.append(worker)
    row = finished(page)
    row.locator("summary").click()
    row.get_by_role("link", name="Edit and run").click()
    assert page.input_value("#user") == "User1@corp.example.com"
    assert page.input_value("#from") == "2026-03-29T00:00"
    row = page.locator(f"#run-{run_id}")
    row.locator("summary").click()
    row.get_by_role("button", name="Delete").click()
    row.wait_for(state="detached")
    assert api.get(f"/api/v1/reports/{run_id}").status_code == 404
    assert not (system.stack.data / "reports" / run_id).exists()


def test_an_hour_that_comes_twice_is_edited_and_run_as_it_was(api, visit):
    hour = {"from": "2026-10-25T00:30Z", "to": "2026-10-25T01:30Z", "tz": "Europe/Berlin"}
    first = api.post("/api/v1/reports", json={"kind": "active", **hour}).json()["parameters"]
    page = visit(f"/settings/reports/runs/{newest(api)['run']}")
    page.get_by_role("link", name="Edit and run").click()
    assert page.input_value("#from") == "2026-10-25T02:30+02:00"
    assert page.input_value("#to") == "2026-10-25T02:30+01:00"
    assert "2026-10-25 00:30 to 2026-10-25 01:30" in page.locator("#window").inner_text()
    page.get_by_role("button", name="Generate").click()
    finished(page)
    again = newest(api)["parameters"]
    assert (again["from_ms"], again["to_ms"]) == (first["from_ms"], first["to_ms"])


def system_lines():
    yield from Stream(99, start_ms=at("2026-03-25", "UTC")).lines(1)


def old_run(state: str, **fields) -> Run:
    parameters = Parameters(from_ms=at("2026-01-01", "UTC"), to_ms=at("2026-01-02", "UTC"), gzip=True)
    when = at("2026-01-03", "UTC")
    return Run(f"{state}0123456789", "active", state, parameters, when, when, **fields)


def test_failed_and_expired_runs_say_why_and_offer_the_next_step(system, api, visit):
    producer = KafkaProducer(bootstrap_servers=system.settings.kafka)
    failed = old_run("queued", by="<script>alert(1)</script>@x.example")
    for run in (failed, msgspec.structs.replace(failed, state="failed", error="the store <b>was</b> away")):
        producer.send("activity.reports", key=run.run.encode(), value=msgspec.json.encode(run))
    producer.flush()
    producer.close()

    def shown():
        return api.get(f"/api/v1/reports/{failed.run}").json()

    eventually(lambda: shown().get("state") == "expired")  # older than the files are kept
    page = visit()
    row = page.locator(f"#run-{failed.run}")
    assert "run it again" in row.inner_text()
    assert "<script>alert(1)</script>@x.example" in row.inner_text()
    row.get_by_role("button", name="Run again").click()
    finished(page)

    worker = system.stack.child("worker")
    system.stack._children.remove(worker)
    worker.stop(20)
    try:
        system.produce([next(iter(system_lines()))])
        ask = {"kind": "active", "from": "2026-03-28", "to": "2026-03-29", "timeout_seconds": 0.1}
        run = api.post("/api/v1/reports", json=ask).json()
        row = page.locator(f"#run-{run['run']}")
        row.locator(".badge.failed").wait_for()
        assert "Is a worker running?" in row.inner_text()
    finally:
        worker.start()
        system.stack._children.append(worker)
    row.get_by_role("button", name="Try again").click()
    finished(page)


def test_phone_and_dark_do_not_overflow(visit):
    page = visit(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
