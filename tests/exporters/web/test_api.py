"""The API keeps what its document says: every answer in its schema, every failure in one shape, every example works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from exporters.access import keys
from exporters.web.contract import JSON, operations
from tests.live.system import eventually

ROOT = Path(__file__).parents[3]
LISTS = ("reports", "tokens", "schedules", "destinations")
SECONDS = 40
# Valid in its schema may still be impossible: a zone that does not exist, a window that ends before it begins.
NOT_CHECKED = "positive_data_acceptance"


@pytest.fixture(scope="module")
def document(api):
    return api.get("/api/v1/openapi.json").json()


def listed(api, name) -> dict[str, str]:
    """{id: address} of what is on a list, on all its pages."""
    found, after = {}, ""
    while after is not None:
        answer = api.get(f"/api/v1/{name}", params={"limit": 1000} | ({"after": after} if after else {}))
        if answer.status_code != 200:
            return found
        page = answer.json()
        ids = [item.get("id") or item.get("run") or item.get("name") for item in page[name]]
        found |= {i: f"/api/v1/{name}/{i}" for i in ids}
        after = page.get("next")
    return found


@pytest.fixture
def tidy(api):
    """What a test made is gone after it."""
    before = {name: listed(api, name) for name in LISTS}
    yield
    for name in LISTS:
        for id_, address in listed(api, name).items():
            if id_ not in before[name]:
                api.delete(address)


def test_every_answer_has_a_schema_every_failure_the_one_shape_every_route_an_example(document):
    shapeless = []
    for path, method, operation in operations(document):
        if not operation.get("x-codeSamples") or not operation.get("description"):
            shapeless.append((method, path, "example"))
        for code, answer in operation["responses"].items():
            schemas = [c.get("schema", {}) for c in answer.get("content", {}).values()]
            if code >= "400" and path.startswith("/api/"):
                good = schemas == [{"$ref": "#/components/schemas/Error"}]
            else:
                good = code == "204" or (schemas and all("$ref" in s or "type" in s for s in schemas))
            if not good:
                shapeless.append((method, path, code))
        if path.startswith("/api/"):
            assert operation["security"] == [{"token": []}]
    assert shapeless == []
    error = document["components"]["schemas"]["Error"]
    assert error["required"] == ["error"]
    assert document["components"]["schemas"]["Fault"]["required"] == ["code", "message"]


def test_every_example_of_the_documentation_works(system, api, monkeypatch, tidy, document):
    monkeypatch.setenv("ACTIVITY_REPORTS_URL", system.stack.url)
    monkeypatch.setenv("ACTIVITY_TOKEN", keys.local_token(system.settings))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    assert len(blocks) == 1 + len(list(operations(document)))
    said = {}
    eventually(lambda: api.get("/api/v1/snapshots/active").status_code == 200, look=system.stack.look)
    for block in blocks:
        exec(compile(block, block.strip().splitlines()[-1], "exec"), said)
    assert said["csv"].startswith("user_email,")
    said["api"].close()


def test_nothing_that_can_be_sent_breaks_it_or_gets_an_undocumented_answer(system, api, tidy, tmp_path):
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{system.stack.url}/api/v1/openapi.json",
        "-H", f"Authorization: Bearer {keys.local_token(system.settings)}",
        "--checks", "all", "--exclude-checks", NOT_CHECKED, "--phases", "examples,coverage,fuzzing,stateful",
        "--max-examples", "15", "--seed", "1", "--max-time", str(SECONDS), "--continue-on-failure", "--no-shrink",
    ]  # fmt: skip
    plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {"NO_COLOR": "1"}
    ran = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", ran.stdout)
    selected = re.search(r"Selected: (\d+)/(\d+)", ran.stdout)
    assert tested[1] == selected[1] == selected[2]


SHAPES = {
    "no such route": ("GET", "/api/v1/nothing", {}, 404, "not_found"),
    "no such method": ("PATCH", "/api/v1/reports", {}, 405, "method_not_allowed"),
    "too large, without saying so": ("POST", "/api/v1/reports", {"content": iter([b"{", b" " * 300_000])}, 413, "too_large"),
    "no such report": ("GET", "/api/v1/reports/none", {}, 404, "not_found"),
    "not JSON": ("POST", "/api/v1/reports", {"content": b"{", "headers": {"content-type": JSON}}, 422, "bad_request"),
    "not text": ("POST", "/api/v1/reports", {"content": b"\xff", "headers": {"content-type": JSON}}, 400, "bad_request"),
    "no kind": ("POST", "/api/v1/reports", {"json": {}}, 422, "bad_request"),
    "a field too many": ("POST", "/api/v1/reports", {"json": {"kind": "active", "x": 1}}, 422, "bad_request"),
    "an impossible window": ("POST", "/api/v1/reports", {"json": {"kind": "active", "from": "2026-02-30", "to": "x"}}, 422, "bad_request"),
    "no such zone": ("POST", "/api/v1/reports", {"json": {"kind": "active", "preset": "7d", "tz": "Mars/One"}}, 422, "bad_request"),
    "too many": ("GET", "/api/v1/reports?limit=1001", {}, 422, "bad_request"),
    "not a page": ("GET", "/api/v1/reports?after=x", {}, 422, "bad_request"),
    "no such token": ("DELETE", "/api/v1/tokens/ua_00000000", {}, 404, "not_found"),
    "a token without a name": ("POST", "/api/v1/tokens", {"json": {"name": " "}}, 422, "bad_request"),
    "a token for ever": ("POST", "/api/v1/tokens", {"json": {"name": "x", "days": 367}}, 422, "bad_request"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "sent", "status", "code"), SHAPES.values(), ids=SHAPES)
def test_every_failure_has_the_one_shape(api, method, path, sent, status, code):
    answer = api.request(method, path, **sent)
    assert answer.status_code == status
    assert answer.headers["content-type"] == JSON
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].keys() == {"code", "message"}
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "status", "code"), [("bytes=9999999-", 416, "bad_range"), ("lines=1-2", 400, "bad_request")]
)
def test_a_part_that_a_file_does_not_have_is_refused_in_the_one_shape(api, tidy, document, asked, status, code):
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 63}).json()["run"]
    eventually(lambda: api.get(f"/api/v1/reports/{run}").json()["state"] == "ready")
    answer = api.get(f"/api/v1/reports/{run}/file", headers={"Range": asked})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert str(status) in document["paths"]["/api/v1/reports/{run_id}/file"]["get"]["responses"]
    whole = api.get(f"/api/v1/reports/{run}/file").content
    part = api.get(f"/api/v1/reports/{run}/file", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole[2:6])


def test_every_code_that_is_answered_is_documented(document):
    answers = [
        (status, a) for _, _, o in operations(document) for status, a in o["responses"].items() if "content" in a
    ]
    codes = {
        a["content"][JSON]["example"]["error"]["code"]
        for status, a in answers
        if status >= "400" and JSON in a["content"]
    }
    assert {code for *_, code in SHAPES.values()} <= codes


def test_a_wrong_method_is_told_all_the_right_ones(api):
    assert api.options("/api/v1/reports").headers["allow"] == "GET, HEAD, POST"
    assert api.put("/api/v1/reports/x").headers["allow"] == "DELETE, GET, HEAD"


def test_asking_twice_with_one_key_makes_one_report(api, tidy):
    ask = {"kind": "active", "preset": "24h"}
    key = {"Idempotency-Key": "a-key-of-this-test"}
    first = api.post("/api/v1/reports", json=ask, headers=key)
    assert first.status_code == 202
    while api.get(f"/api/v1/reports/{first.json()['run']}").json()["state"] != "ready":
        pass
    again = api.post("/api/v1/reports", json=ask, headers=key)
    assert (again.status_code, again.json()["run"], again.json()["state"]) == (200, first.json()["run"], "ready")
    other = api.post("/api/v1/reports", json=ask | {"preset": "7d"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert (
        api.post("/api/v1/reports", json=ask, headers={"Idempotency-Key": "another"}).json()["run"]
        != first.json()["run"]
    )


def test_running_a_report_again_asks_the_same_of_now(api, tidy):
    ask = {"kind": "active", "from": "2026-03-01", "to": "2026-04-01", "tz": "Asia/Kolkata", "excel": True}
    first = api.post("/api/v1/reports", json=ask).json()["run"]
    while (found := api.get(f"/api/v1/reports/{first}").json())["state"] != "ready":
        pass
    again = api.post(f"/api/v1/reports/{first}/again")
    assert (again.status_code, again.json()["parameters"]) == (202, found["parameters"])
    assert again.json()["run"] != first
    assert again.json()["requested_at"] > found["requested_at"]


def test_inactive_users_are_counted_back_from_the_same_instant_again(api, tidy):
    ask = {"kind": "inactive", "days": 61, "as_of": "2026-03-01T00:00", "tz": "Asia/Kolkata"}
    first = api.post("/api/v1/reports", json=ask).json()
    again = api.post(f"/api/v1/reports/{first['run']}/again").json()
    assert again["parameters"] == first["parameters"]


def test_pages_of_a_list_show_everything_once_while_it_grows(api, tidy):
    for days in range(1, 6):
        api.post("/api/v1/reports", json={"kind": "inactive", "days": days})
    whole = [r["run"] for r in api.get("/api/v1/reports", params={"limit": 1000}).json()["reports"]]
    seen, after = [], ""
    while after is not None:
        page = api.get("/api/v1/reports", params={"limit": 2, "after": after}).json()
        seen += [r["run"] for r in page["reports"]]
        after = page["next"]
        if len(seen) == 4:
            api.post("/api/v1/reports", json={"kind": "inactive", "days": 77})
    assert seen == whole


def test_the_document_itself_is_for_whoever_may_ask(system):
    assert httpx.get(f"{system.stack.url}/api/v1/openapi.json", trust_env=False).status_code == 401
