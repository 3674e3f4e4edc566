"""Users and sign-ins: the screen and the API say what the reports say."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import urlencode

import pytest

from exporters.web import cursors
from tests.exporters.web.test_numbers import DAY, event, pages, settled
from tests.live.system import eventually
from tests.streams import Line, Stream

# Places that no page of sign-ins ends at.
IMPOSSIBLE = ([-5, "x", 0, 0], [0, "x", -1, 0], [0, "x", 2**32, 0], [0, "x", 0, -1], [2**63, "x", 0, 0])
# As names in an address: folders, and what else a browser reads.
ODD = (".", "..", "../settings/audit", "/", "a/b?c#d", "50%25", "x y&z=1")
HOSTILE = "<script>alert(1)</script>@corp.example.com"


@pytest.fixture(scope="module")
def recent(system, api):
    now = int(time.time() * 1000)
    system.produce(Stream(31, start_ms=now - 9 * DAY, days=9).lines(2_000))
    system.produce([event(HOSTILE.split("@", maxsplit=1)[0], now), sign_in("mfa@corp.example.com", now)])
    system.produce([event("o/ne", now), *(known_by_id(name, now) for name in ODD)])
    settled(api)
    return now


def known_by_id(name, at):
    line = event(name, at)
    return line._replace(value=json.dumps(json.loads(line.value) | {"user": {"id": name}}).encode())


def sign_in(email, at, **more):
    action = {"type": "mfa_reset", "user": {"email": email, "device": {"name": "Laptop"}}}
    mfa = {"method": "totp", "actor": {"email": "helpdesk@corp.example.com"}}
    body = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at / 1000))}Z",
        "action": action | {"mfa": mfa} | more,
    }
    return Line("authentications", email.encode(), json.dumps(body).encode())


def listed(api, path, name, **parameters):
    found, after = [], ""
    while after is not None:
        body = api.get(path, params={"after": after, **parameters}).json()
        found += body[name]
        after = body["next"]
    return body, found


def test_users_are_the_directory_and_everybody_seen(system, api, recent, stream):
    body, found = listed(api, "/api/v1/users", "users", limit=7)
    emails = [u["user_email"] for u in found]
    assert emails == sorted(set(emails))
    assert body["count"] == len(found)
    _, active = pages(api, "/api/v1/snapshots/active", window="30d")
    accounts = {a["email"].casefold() for a in stream.accounts()}
    assert {u["user_email"] for u in active} | accounts <= set(emails)
    rows = {u["user_email"]: u for u in found}
    for user in active:
        row = rows[user["user_email"]]
        known = {
            k for k in row.keys() & user.keys() if k != "last_access_date" or user[k]
        }  # theirs is of the window only
        assert {k: row[k] for k in known} == {k: user[k] for k in known}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("sort", "field"),
    [
        ("bytes", "total_bytes"),
        ("connections", "total_connections"),
        ("failed", "failed_connections"),
        ("devices", "active_devices"),
    ],
)
def test_users_are_sorted_over_all_pages(api, recent, sort, field, order):
    _, found = listed(api, "/api/v1/users", "users", limit=9, sort=sort, order=order)
    values = [u[field] for u in found]
    assert values == sorted(values, reverse=order == "desc")
    assert len(found) == api.get("/api/v1/users", params={"limit": 1}).json()["count"]


def test_users_are_found_by_a_part_of_any_name(api, recent):
    one = api.get("/api/v1/users", params={"search": "113006"}).json()
    assert [u["user_email"] for u in one["users"]] == ["renamed.6@corp.example.com"]
    assert {u["state"] for u in api.get("/api/v1/users", params={"state": "suspended"}).json()["users"]} == {
        "suspended"
    }
    assert all(not u["state"] for u in api.get("/api/v1/users", params={"state": "none"}).json()["users"])
    assert api.get("/api/v1/users", params={"search": "nobody at all"}).json()["count"] == 0


def test_one_user_has_the_numbers_of_the_snapshots(api, recent):
    for user in ("renamed.6@corp.example.com", "113006", "RENAMED.6@corp.example.com"):
        found = api.get(f"/api/v1/users/{user}").json()
        assert found["user_email"] == "renamed.6@corp.example.com"
    _, active = pages(api, "/api/v1/snapshots/active", window="7d")
    assert found["windows"]["7d"] == next(u for u in active if u["user_email"] == found["user_email"])
    month = found["windows"]["30d"]
    assert len(found["addresses"]) == min(50, month["num_of_client_ip"])
    assert {a["name"] for a in found["addresses"][:3]} & set(month["top_10_client_ips"])
    assert found["addresses"][0]["connections"] >= found["addresses"][-1]["connections"]
    assert found["ids"] == ["113006"]
    assert api.get("/api/v1/users/nobody@corp.example.com").status_code == 404


@pytest.mark.parametrize(
    "filters",
    [{}, {"result": "failure"}, {"type": "reauth"}, {"reason": "policy_block"}, {"user": "renamed.0@corp.example.com"}],
)
def test_the_list_of_sign_ins_is_the_export(system, api, recent, filters):
    body, found = listed(api, "/api/v1/sign-ins", "sign_ins", limit=43, preset="7d", **filters)
    _, file = system.report(kind="authentication", preset="7d", **filters)
    assert found[::-1] == [json.loads(line) for line in file.splitlines()]
    assert body["count"] == len(found) > 0


def test_the_page_of_sign_ins_exports_exactly_what_it_shows(system, api, recent, visit):
    page = visit("/sign-ins?preset=7d&result=failure", zone="Asia/Kathmandu", script=False)
    shown = int("".join(filter(str.isdigit, page.inner_text("#count"))))
    rows = page.locator("#sign-ins tbody tr").count()
    while page.locator("#next").count():
        with page.expect_navigation():
            page.click("#next")
        rows += page.locator("#sign-ins tbody tr").count()
    assert rows == shown
    with page.expect_navigation():
        page.click("#export")
    assert page.input_value("#result") == "failure"
    assert page.is_checked("[name=preset][value=custom]")
    with page.expect_navigation():
        page.click("text=Generate >> nth=-1")
    run = re.search(r"asked=(\w+)", page.url)[1]
    assert eventually(
        lambda: (r := api.get(f"/api/v1/reports/{run}").json())["state"] == "ready" and r["rows"] == shown
    )


def test_a_users_page_says_who_reset_their_mfa(api, recent, visit):
    page = visit("/users?search=mfa%40corp")
    with page.expect_navigation():
        page.click("text=mfa@corp.example.com")
    assert "helpdesk@corp.example.com" in page.inner_text("#mfa")
    assert "Laptop" in page.inner_text("#history")


def test_an_account_made_at_no_date_has_a_page_that_says_what_was_written(system, api, recent, signed_in):
    account = {"id": "undated", "email": "undated@corp.example.com", "created": "last <Tuesday>"}
    system.producer.send("activity.directory", key=b"undated", value=json.dumps(account).encode())
    system.producer.flush()
    page = eventually(lambda: (p := signed_in.get("/users/undated@corp.example.com")).status_code != 404 and p)
    assert page.status_code == 200
    assert "since last &lt;Tuesday&gt;" in page.text
    system.producer.send("activity.directory", key=b"undated", value=None)


def test_names_cannot_become_markup_or_paths(api, recent, signed_in):
    text = signed_in.get("/users", params={"search": "<script>"}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    for name in (HOSTILE, "o/ne@corp.example.com"):
        address = re.search(
            rf'href="(/users/[^"]*{"script" if "script" in name else "ne%40"}[^"]*)"',
            signed_in.get("/users", params={"search": name}).text,
        )
        page = signed_in.get(address[1])
        assert page.status_code == 200
        assert "<script>alert" not in page.text


def test_whatever_a_user_is_called_a_link_opens_their_page(system, recent, visit):
    page = visit("/users")
    for name in ODD:
        page.goto(f"{system.stack.url}/users?{urlencode({'search': name})}")
        with page.expect_navigation() as opened:
            page.locator("#users").get_by_role("link", name=name, exact=True).click()
        assert opened.value.status == 200
        assert page.inner_text("h1") == name
        page.get_by_role("button", name="Use this time zone").click()
        assert page.inner_text("h1") == name


@pytest.mark.parametrize(
    "path",
    ["/api/v1/users?sort=name", "/api/v1/users?order=up", "/api/v1/users?after=W10", "/api/v1/users?limit=0", "/api/v1/sign-ins?preset=1h",
     "/api/v1/sign-ins?from=2026-03-01", "/api/v1/sign-ins?from=x&to=y", "/api/v1/sign-ins?type=x", "/api/v1/sign-ins?reason=x",
     "/api/v1/sign-ins?after=zzz", "/api/v1/sign-ins?preset=7d&from=2026-03-01&to=2026-03-02", "/api/v1/sign-ins?tz=Mars",
     *(f"/api/v1/sign-ins?after={cursors.encode(place)}" for place in IMPOSSIBLE)],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_one_shape(api, path):
    answer = api.get(path)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "bad_request"


@pytest.mark.parametrize("place", IMPOSSIBLE)
def test_a_place_that_is_none_is_said_on_the_page(signed_in, place):
    answer = signed_in.get("/sign-ins", params={"after": cursors.encode(place)})
    assert answer.status_code == 422
    assert "pass `next` of the page before" in answer.text


def test_a_wrong_filter_is_said_on_the_page(signed_in):
    answer = signed_in.get(
        "/sign-ins", params={"preset": "custom", "from": "2026-03-01T00:07", "to": "2026-03-02T00:00"}
    )
    assert answer.status_code == 422
    assert "15-minute edge" in answer.text
