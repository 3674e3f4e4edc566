"""What must be refused is refused, in our own shape, and is on the audit topic."""

from __future__ import annotations

import re
import secrets
from html import unescape

import httpx
import msgspec
import pytest

from exporters.access.audit import Entry
from exporters.access.keys import signing_key
from exporters.access.links import VALID_MS, Links
from exporters.access.people import ADMIN, Person
from exporters.access.sessions import Sessions
from exporters.client import Client
from pipeline import topics
from pipeline.intake.records import read
from tests.live.system import eventually

DECODER = msgspec.json.Decoder(Entry)


def audited(system, **wanted):
    """Wait until an entry like this is on the topic."""
    return eventually(
        lambda: [
            e
            for e in (DECODER.decode(r.value) for r in read(system.settings, topics.AUDIT))
            if all(getattr(e, k) == v for k, v in wanted.items())
        ]
    )


def filled(path: str) -> str:
    return path.replace("{run_id}", "0" * 32).replace("{", "").replace("}", "")


def test_nothing_but_the_open_paths_answers_a_stranger(system, routes):
    assert len(routes) > 15
    with httpx.Client(base_url=system.stack.url, trust_env=False) as stranger:
        let_in = {
            path for method, path in routes if stranger.request(method, filled(path)).status_code not in (401, 303)
        }
        assert let_in == {"/login", "/healthz", "/metrics"}
        assert stranger.get("/api/v1/reports").json()["error"]["code"] == "unauthorized"
        assert stranger.get("/settings/reports").headers["location"].startswith("/login")
        assert stranger.get("/nowhere").status_code == 303
    audited(system, who="", action="GET -", target="/settings/reports", outcome="refused", status=401)


def test_every_form_needs_the_word_of_its_session(system, signed_in, routes):
    other = Sessions(signing_key(system.settings), hours=1).word(Person("x", ADMIN, "another session"))
    posts = [path for method, path in routes if method == "POST" and not path.startswith("/api/")]
    assert len(posts) >= 6
    for path in posts:
        for data in ({}, {"word": other}, {"word": ""}):
            assert signed_in.post(filled(path), data=data).status_code == 403, path
    audited(system, who="local", action="POST /settings/reports", outcome="refused", status=403)
    assert signed_in.post("/zone", data={"word": signed_in.word, "zone": "Asia/Tokyo"}).status_code == 303


FORGED = {
    "no session": "",
    "rubbish": "x.y",
    "unsigned": "eyJpZCI6ImEiLCJuYW1lIjoibG9jYWwiLCJyb2xlIjoiYWRtaW4iLCJ1bnRpbCI6OTk5OTk5OTk5OTk5OX0.",
    "another key": Sessions("another key", hours=1).begin("local", ADMIN, 4_000_000_000_000),
}


@pytest.mark.parametrize("cookie", FORGED.values(), ids=FORGED)
def test_a_forged_cookie_signs_nobody_in(system, cookie):
    name = Sessions(signing_key(system.settings), hours=1).cookie
    answer = httpx.get(f"{system.stack.url}/settings/reports", cookies={name: cookie}, trust_env=False)
    assert answer.headers["location"].startswith("/login")


def test_a_session_that_is_over_or_was_ended_is_no_session(system, signed_in):
    sessions = Sessions("key", hours=1)
    cookie = sessions.begin("a", ADMIN, 0)
    assert sessions.read(cookie, 3_599_999).name == "a"
    assert sessions.read(cookie, 3_600_000) is None
    copy = dict(signed_in.cookies)
    assert signed_in.post("/logout", data={"word": signed_in.word}).status_code == 303
    for cookies in (dict(signed_in.cookies), copy):
        answer = httpx.get(f"{system.stack.url}/settings/reports", cookies=cookies, trust_env=False)
        assert answer.headers["location"].startswith("/login")


def test_a_link_works_once_and_not_for_long(system):
    links = Links()
    key = links.make(0)
    assert not links.use(key, VALID_MS + 1)
    assert not links.use(key, 1)
    key = links.make(0)
    assert links.use(key, VALID_MS)
    assert not links.use(key, 1)
    link = Client(system.settings).link()
    assert httpx.get(link).status_code == 303
    again = httpx.get(link)
    assert again.status_code == 403
    assert "used before" in again.text
    assert "set-cookie" not in again.headers
    audited(system, action="GET /login", outcome="refused", status=403)


def test_a_cookie_opens_no_api_and_a_wrong_token_nothing(system, signed_in):
    assert signed_in.get("/api/v1/reports").status_code == 401
    for header in (
        "Bearer",
        "Bearer x",
        f"Bearer {secrets.token_urlsafe(32)}",
        "Basic bG9jYWw6eA==",
        "Bearer ü".encode(),
    ):
        answer = httpx.get(f"{system.stack.url}/settings/reports", headers={"Authorization": header}, trust_env=False)
        assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_name_for_this_machine_is_refused(system, api, host):
    assert api.get("/api/v1/reports", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/settings/reports/runs/none", 404),
        ("/settings/reports/runs/..%2f..%2fup.lock/download", 404),
        ("/static/..%2f..%2fapi.py", 404),
        ("/static/%2e%2e/views.py", 404),
        ("/nowhere", 404),
    ],
)
def test_what_is_not_there_is_a_page_of_ours_and_no_file(signed_in, path, status):
    answer = signed_in.get(path)
    assert answer.status_code == status
    assert "Back to the start" in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "path", ["/nowhere/a%2F..%2F%3Fb%20c/%E2%82%AC?user=a%26b%22&x", "/settings/reports?kind=active#"]
)
def test_the_way_back_to_a_page_is_its_address_as_it_was_asked_for(signed_in, path):
    back = unescape(re.search(r'name="back" value="([^"]*)"', signed_in.get(path).text)[1])
    assert back == path.rstrip("#")
    answer = signed_in.post("/zone", data={"word": signed_in.word, "zone": "Asia/Tokyo", "back": back})
    assert answer.headers["location"] == back


def test_a_form_that_is_too_large_is_refused(system, signed_in):
    assert signed_in.post("/settings/reports", content=b"x" * 100_000).status_code == 413
    audited(system, action="POST /settings/reports", outcome="refused", status=413)


def test_every_answer_says_what_a_browser_may_do_with_it(system, signed_in, api):
    answers = [
        signed_in.get("/settings/reports"),
        signed_in.get("/static/app.js"),
        api.get("/api/v1/reports"),
        httpx.get(f"{system.stack.url}/login"),
        httpx.get(f"{system.stack.url}/nowhere"),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = answers[0].text
    assert "<script>" not in page
    assert " style=" not in page
    assert " onclick=" not in page


def test_nothing_that_is_somebodys_is_kept_by_a_browser_or_a_proxy(system, signed_in, api):
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 64}).json()["run"]
    eventually(lambda: api.get(f"/api/v1/reports/{run}").json()["state"] == "ready")
    download = f"/settings/reports/runs/{run}/download"
    for answer in (
        api.get("/api/v1/reports"),
        api.get(f"/api/v1/reports/{run}/file"),
        *(signed_in.get(download, params={"form": form}) for form in ("gz", "plain", "zip")),
        signed_in.get("/settings/reports"),
        signed_in.get(f"{download}?form=exe"),
    ):
        assert "no-store" in answer.headers["cache-control"], answer.url
    assert "cache-control" not in signed_in.get("/static/app.css").headers


def test_a_head_is_answered_like_a_get_without_a_body(system, signed_in, api):
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 65}).json()["run"]
    eventually(lambda: api.get(f"/api/v1/reports/{run}").json()["state"] == "ready")
    varying = {"date", "content-length", "set-cookie"}  # a page holds the time
    for who, path in (
        (api, "/healthz"),
        (api, "/api/v1/reports/none"),
        (api, f"/api/v1/reports/{run}/file"),
        (api, f"/api/v1/reports/{run}/file?form=zip"),
        (signed_in, "/settings/reports"),
        (signed_in, "/static/app.css"),
        (httpx.Client(base_url=system.stack.url, trust_env=False), "/settings/reports"),
    ):
        head, get = who.head(path), who.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert {k: v for k, v in head.headers.items() if k not in varying} == {
            k: v for k, v in get.headers.items() if k not in {*varying, "transfer-encoding"}
        }
    assert signed_in.head("/events").headers["content-type"].startswith("text/event-stream")
    audited(system, action="HEAD /api/v1/reports/{run_id}", target="/api/v1/reports/none", status=404)


def test_who_only_looks_at_a_link_does_not_use_it(system):
    link = Client(system.settings).link()
    assert httpx.head(link, trust_env=False).status_code == 405
    assert httpx.get(link, trust_env=False).status_code == 303


def test_what_is_asked_and_taken_is_audited(system, api, signed_in):
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 30}).json()
    assert run["by"] == "local"
    eventually(lambda: api.get(f"/api/v1/reports/{run['run']}").json()["state"] == "ready")
    path = f"/settings/reports/runs/{run['run']}/download"
    assert signed_in.get(path, params={"form": "plain"}).status_code == 200
    [entry] = audited(system, action="GET /settings/reports/runs/{run_id}/download", target=path)
    assert (entry.who, entry.outcome, entry.status, entry.address) == ("local", "done", 200, "127.0.0.1")
    assert not [e for e in audited(system, outcome="done") if e.target.startswith(("/static", "/healthz"))]


def test_secrets_lie_in_files_of_their_owner_only(system):
    for path in (system.stack.data / "access").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert (system.stack.data / "access").stat().st_mode & 0o077 == 0
