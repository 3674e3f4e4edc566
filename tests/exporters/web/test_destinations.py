"""S3 sync over the API and on its page: set up with a look at a real bucket first, delivered, held back, taken away."""

from __future__ import annotations

import sys

import pytest

from deploy.local.processes import Child
from tests import s3
from tests.live.system import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3.seaweed(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def syncing(system, tmp_path):
    """`activity sync`, as an operator starts it."""
    child = Child(
        "sync", [sys.executable, "-m", "deploy.cli", "sync", "--data", str(system.stack.data)], tmp_path / "log"
    )
    child.start()
    yield child
    child.stop(20)


def fill(page, server, bucket, *, name="siem"):
    page.fill("#name", name)
    page.fill("#bucket", bucket)
    page.fill("#prefix", "events")
    page.select_option("#credentials", "file")
    page.fill("#keys_file", str(server.keys))
    page.fill("#age_seconds", "1")
    page.locator("details.further summary").click()
    page.fill("#endpoint", server.endpoint)
    page.check("[name=path_style]")


def test_a_bucket_is_looked_at_set_up_delivered_to_held_back_and_taken_away(system, api, visit, server, syncing):
    bucket = server.bucket()
    page = visit("/settings/sync")
    assert "Nothing is delivered yet" in page.locator("#deliveries").inner_text()
    fill(page, server, "not-there")
    page.get_by_role("button", name="Check").click()
    page.locator("#checked").wait_for()
    assert "Something must be changed first." in page.locator("#checked").inner_text()
    assert page.locator("#checked [data-ok=False]").count() >= 1
    assert api.get("/api/v1/destinations").json()["destinations"] == []
    page.fill("#bucket", bucket)
    page.get_by_role("button", name="Check").click()
    page.locator("#checked .banner.good").wait_for()
    assert page.locator("#checked [data-ok=True]").count() >= 6
    assert page.input_value("#keys_file") == str(server.keys)
    page.get_by_role("button", name="Save").click()
    row = page.locator("#delivery-siem")
    row.locator(".badge", has_text="delivering").wait_for(timeout=90_000)

    def stored():
        listed = server.client().list_objects_v2(Bucket=bucket, Prefix="events/authentication/").get("Contents", [])
        return [o["Key"] for o in listed if o["Key"].endswith(".ndjson.gz")]

    eventually(stored, seconds=90, look=syncing.look)
    row.get_by_text(".ndjson.gz").wait_for(timeout=60_000)
    page.screenshot(path="tests/.artifacts/screens/sync-delivering.png", full_page=True)
    eventually(lambda: api.get("/api/v1/destinations/siem").json()["lag_records"] == 0, look=syncing.look)
    row.get_by_role("button", name="Pause").click()
    page.locator("#delivery-siem .badge", has_text="paused").wait_for()
    shown = api.get("/api/v1/destinations/siem").json()
    assert (shown["state"], shown["paused_by"], shown["origin"]) == ("paused", "local", "api")
    assert shown["settings"]["target"]["bucket"] == bucket
    page.locator("#delivery-siem").get_by_role("button", name="Resume").click()
    page.locator("#delivery-siem .badge", has_text="delivering").wait_for()
    page.locator("#more-of-siem").click()
    page.get_by_role("link", name="Edit").click()
    assert page.input_value("#bucket") == bucket
    assert page.input_value("#credentials") == "file"
    page.locator("#more-of-siem").click()
    page.locator("#delete-siem").click()
    page.locator("#delivery-siem").wait_for(state="detached")
    assert stored()


TARGET = {"kind": "s3", "bucket": "b-1", "endpoint": "http://127.0.0.1:9", "path_style": True}


@pytest.fixture
def destination(api):
    assert api.put("/api/v1/destinations/one", json={"target": TARGET}).status_code == 201
    yield "/api/v1/destinations/one"
    api.delete("/api/v1/destinations/one")


def test_the_api_makes_changes_and_says_what_nobody_delivers(api, destination):
    shown = api.get(destination).json()
    assert (shown["state"], shown["place"]) == ("nobody delivers", "s3://b-1")
    assert api.put(destination, json={"target": TARGET, "format": "ocsf"}).status_code == 200
    assert api.get(destination).json()["settings"]["format"] == "ocsf"
    checked = api.post(f"{destination}/check").json()
    assert not checked["ok"]
    assert checked["steps"][0]["name"] == "reach"


WRONG = {
    "a directory": ("two", {"target": {"kind": "directory", "path": "/tmp/x"}}, 422, "only buckets"),
    "a directory in short": ("two", {"target": "/tmp/x"}, 422, "only buckets"),
    "a place that is taken": ("two", {"target": TARGET}, 409, "already delivers"),
    "a place within one that is taken": ("two", {"target": TARGET | {"prefix": "p"}}, 409, "already delivers"),
    "a name of capitals": ("TWO", {"target": TARGET | {"bucket": "b-2"}}, 422, "name"),
    "no bucket": ("two", {"target": {"kind": "s3"}}, 422, "bucket"),
    "a key written out": ("two", {"target": TARGET | {"credentials": {"kind": "keys", "secret": "s3cret"}}}, 422, "credentials"),
    "an unknown field": ("two", {"target": TARGET | {"bucket": "b-2"}, "x": 1}, 422, "x"),
    "a role without its external id": ("two", {"target": TARGET | {"bucket": "b-2", "credentials": {"kind": "role", "role_arn": "arn:aws:iam::123456789012:role/r"}}}, 422, "external_id"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "status", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_delivered_to_is_refused(api, destination, name, sent, status, said):
    answer = api.put(f"/api/v1/destinations/{name}", json=sent)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
    assert "s3cret" not in answer.text


def test_a_destination_of_the_settings_is_shown_and_changed_there_only(guarded):
    with guarded.api() as api:
        shown = api.get("/api/v1/destinations/fixed").json()
        assert (shown["origin"], shown["state"]) == ("settings", "nobody delivers")
        for answer in (
            api.delete("/api/v1/destinations/fixed"),
            api.put("/api/v1/destinations/fixed", json={"target": TARGET}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert api.post("/api/v1/destinations/fixed/pause").json()["state"] == "paused"
        assert api.post("/api/v1/destinations/fixed/resume").json()["state"] == "nobody delivers"


def test_readers_do_not_see_where_events_go(bearer, destination):
    reader = bearer("no administrator")
    assert reader.get("/api/v1/destinations").status_code == 403
    assert reader.get(destination).status_code == 403
    assert reader.post(f"{destination}/check").status_code == 403
