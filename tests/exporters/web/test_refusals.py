"""Everything somebody might try: refused, in our own shape, and on the audit topic.  One table each."""

from __future__ import annotations

import csv
import gzip
import io
import json
import secrets
import socket

import httpx
import msgspec
import pytest
from kafka import KafkaProducer

from exporters.access import keys, tokens
from exporters.access.people import ADMIN, VIEWER
from exporters.access.sessions import Sessions
from exporters.client import Client
from exporters.web.gate import ADMINS_BELOW, MAX_BODY_BYTES
from pipeline import clock
from tests.exporters.web.test_safety import audited, filled
from tests.live.system import eventually

HOUR_MS = 3_600_000
BAIT = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture(scope="module")
def viewer(bearer):
    return bearer("a reader")


def session(system, name="vera@corp.example", role=VIEWER, *, began_ms=None, hours=12.0):
    """The cookie of somebody who signed in."""
    sessions = Sessions(keys.signing_key(system.settings), hours=hours)
    return {sessions.cookie: sessions.begin(name, role, clock.now_ms() if began_ms is None else began_ms)}


def bare(system, **options):
    return httpx.Client(base_url=system.stack.url, trust_env=False, timeout=30, **options)


def test_what_is_an_administrators_is_refused_to_readers(system, viewer, routes):
    theirs = [(m, p) for m, p in routes if p.startswith(ADMINS_BELOW)]
    assert {p for _, p in theirs} >= {
        "/api/v1/links",
        "/api/v1/tokens",
        "/api/v1/audit",
        "/settings/tokens",
        "/settings/audit",
    }
    with bare(system, cookies=session(system)) as reader:
        for method, path in theirs:
            asker = viewer if path.startswith("/api/") else reader
            answer = asker.request(method, filled(path))
            assert answer.status_code == 403, (method, path)
            assert "Only administrators may do this." in answer.text
    audited(system, who="vera@corp.example", target="/settings/tokens", outcome="refused", status=403)
    audited(system, who="token:a reader", target="/api/v1/tokens", outcome="refused", status=403)


OTHERS = (("GET", ""), ("GET", "/file"), ("POST", "/again"), ("POST", "/cancel"), ("DELETE", ""))


@pytest.mark.parametrize(("method", "rest"), OTHERS, ids=["look", "take", "again", "cancel", "delete"])
def test_another_persons_run_is_not_there(system, bearer, viewer, method, rest):
    run = viewer.post("/api/v1/reports", json={"kind": "inactive", "days": 31}).json()["run"]
    rival = bearer("another reader")
    path = f"/api/v1/reports/{run}{rest}"
    answer = rival.request(method, path)
    nothing = rival.request(method, f"/api/v1/reports/{'0' * 32}{rest}")
    assert (answer.status_code, answer.content) == (404, nothing.content)  # nobody learns that it is there
    assert viewer.get(f"/api/v1/reports/{run}").status_code == 200
    assert run not in [r["run"] for r in rival.get("/api/v1/reports").json()["reports"]]
    audited(system, who="token:another reader", target=path, outcome="refused", status=404)
    viewer.delete(f"/api/v1/reports/{run}")


WORDS = {
    "none": lambda s: {},
    "empty": lambda s: {"word": ""},
    "of another session": lambda s: {"word": Sessions(keys.signing_key(s.settings), hours=1).word(msgspec.structs.replace(tokens.Token("", "x", ADMIN, 0, "", 0, "").person, session="y"))},
    "of another installation": lambda s: {"word": Sessions("k" * 43, hours=1).word(tokens.Token("", "local", ADMIN, 0, "", 0, "").person)},
}  # fmt: skip


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("path", ["/settings/reports", "/settings/tokens", "/logout"])
def test_a_forged_form_does_nothing(system, api, signed_in, word, path):
    before = api.get("/api/v1/tokens").json(), api.get("/api/v1/reports").json()["reports"][:1]
    sent = {"kind": "inactive", "days": "33", "tz": "UTC", "name": "forged", "role": "admin"}
    answer = signed_in.post(path, data=sent | word(system), headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert (api.get("/api/v1/tokens").json(), api.get("/api/v1/reports").json()["reports"][:1]) == before
    assert signed_in.get("/settings/reports").status_code == 200  # not signed out either
    audited(system, who="local", action=f"POST {path}", outcome="refused", status=403)


COOKIES = {
    "one that is over": lambda s: session(s, began_ms=clock.now_ms() - 13 * HOUR_MS),
    "one cut short": lambda s: {k: v[:-2] for k, v in session(s).items()},
    "one of another installation": lambda s: {k: Sessions("k" * 43, hours=1).begin("local", ADMIN, clock.now_ms()) for k in session(s)},
    "a login on its way": lambda s: dict.fromkeys(session(s), "eyJzdGF0ZSI6IngifQ.x"),
    "a reader who says administrator": lambda s: {k: v.replace(v.split(".")[0], Sessions("k" * 43, hours=1).begin("vera@corp.example", ADMIN, clock.now_ms()).split(".")[0]) for k, v in session(s).items()},
}  # fmt: skip


@pytest.mark.parametrize("made", COOKIES.values(), ids=COOKIES)
def test_a_cookie_that_is_not_a_session_of_ours_opens_nothing(system, made):
    with bare(system, cookies=made(system)) as thief:
        assert thief.get("/settings/reports").headers["location"].startswith("/login")
        assert thief.get("/api/v1/reports").status_code == 401
    audited(system, who="", target="/settings/reports", outcome="refused", status=401)


def test_another_installations_cookie_and_token_open_nothing(system, guarded, signed_in, viewer):
    with guarded.browser(cookies=dict(signed_in.cookies)) as thief:
        assert thief.get("/settings/reports").status_code == 303
    for secret in (viewer.secret, keys.local_token(system.settings)):
        answer = guarded.browser(headers={"Authorization": f"Bearer {secret}"}).get("/api/v1/reports")
        assert answer.status_code == 401
    audited(guarded, who="", target="/api/v1/reports", outcome="refused", status=401)


def write(system, *records):
    producer = KafkaProducer(bootstrap_servers=system.settings.kafka, acks="all")
    for key, value in records:
        producer.send("activity.access", key=key.encode(), value=value).get(30)
    producer.close()


def test_a_token_that_was_revoked_stays_so(system, api, bearer):
    program = bearer("to be revoked", "admin")
    assert program.get("/api/v1/reports").status_code == 200
    eventually(lambda: api.get("/api/v1/tokens").json()["tokens"][0]["last_used_at"])
    made = program.token["id"]
    assert api.delete(f"/api/v1/tokens/{made}").json()["state"] == "revoked"
    assert program.get("/api/v1/reports").status_code == 401
    revived, _ = tokens.make("to be revoked", ADMIN, days=9, by="evil", now_ms=clock.now_ms())
    revived = msgspec.structs.replace(revived, id=made, sha256=tokens._hash(program.secret))
    marker, _ = tokens.make("marker", VIEWER, days=1, by="evil", now_ms=clock.now_ms())
    write(system, (f"token/{made}", msgspec.json.encode(revived)), (f"token/{marker.id}", msgspec.json.encode(marker)))
    eventually(lambda: marker.id in api.get("/api/v1/tokens", params={"limit": 1000}).text)
    assert program.get("/api/v1/reports").status_code == 401
    assert api.delete(f"/api/v1/tokens/{made}").json()["state"] == "revoked"
    audited(system, who="", target="/api/v1/reports", outcome="refused", status=401)


def test_a_token_is_over_when_its_days_are(system, api):
    token, secret = tokens.make("old", ADMIN, days=1, by="x", now_ms=clock.now_ms() - tokens.DAY_MS)
    young, good = tokens.make("young", ADMIN, days=1, by="x", now_ms=clock.now_ms() - tokens.DAY_MS + 60_000)
    write(system, *((f"token/{t.id}", msgspec.json.encode(t)) for t in (token, young)))
    eventually(lambda: young.id in api.get("/api/v1/tokens", params={"limit": 1000}).text)
    said = {t["id"]: t["state"] for t in api.get("/api/v1/tokens", params={"limit": 1000}).json()["tokens"]}
    assert (said[token.id], said[young.id]) == ("expired", "active")
    for shown, status in ((secret, 401), (good, 200), (good[:-1], 401), (good + "x", 401), (token.id, 401)):
        with bare(system, headers={"Authorization": f"Bearer {shown}"}) as program:
            assert program.get("/api/v1/reports").status_code == status


def test_no_token_makes_a_link_that_would_outlive_it(system, bearer):
    program = bearer("an administrators program", role="admin")
    answer = program.post("/api/v1/links")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    audited(system, who="token:an administrators program", target="/api/v1/links", status=403)
    link = Client(system.settings.model_copy(update={"token": program.secret})).link()
    assert httpx.get(link, trust_env=False).status_code == 303


def test_a_secret_is_shown_once_and_lies_nowhere(system, api, bearer):
    program = bearer("shown once")
    assert program.secret.startswith(program.token["id"] + "_")
    assert program.secret not in api.get("/api/v1/tokens", params={"limit": 1000}).text
    secret = program.secret.rpartition("_")[2]
    eventually(lambda: program.token["id"] in (system.stack.data / "logs" / "reports.log").read_text() or True)
    assert secret not in (system.stack.data / "logs" / "reports.log").read_text()
    from pipeline import topics
    from pipeline.intake.records import read

    for topic in (topics.ACCESS, topics.AUDIT):
        assert not [r for r in read(system.settings, topic) if secret.encode() in (r.value or b"")]


GUESSES = {
    "links": lambda: ("GET", "/login", {"params": {"key": secrets.token_urlsafe(32)}}),
    "tokens": lambda: ("GET", "/api/v1/reports", {"headers": {"Authorization": f"Bearer ua_0000{secrets.token_hex(2)}_{secrets.token_urlsafe(32)}"}}),
    "logins": lambda: ("GET", "/login/callback", {"params": {"state": secrets.token_urlsafe(9), "code": "x"}}),
    "tokens on pages": lambda: ("POST", "/settings/reports", {"headers": {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}}),
}  # fmt: skip


def test_a_thousand_sign_ins_that_fail_are_refused_slowed_down_and_audited(guarded):
    address = {"X-Forwarded-For": "203.0.113.77"}
    seen, began = [], clock.monotonic()
    with guarded.browser(headers=address) as thief:
        for number in range(1000):
            method, path, sent = list(GUESSES.values())[number % len(GUESSES)]()
            answer = thief.request(method, path, **sent)
            seen.append(answer.status_code)
            assert "set-cookie" not in answer.headers or "Max-Age=0" in answer.headers["set-cookie"]
            assert answer.status_code != 429 or int(answer.headers["retry-after"]) >= 1
        assert set(seen) <= {401, 403, 429}
        per_minute = guarded.settings.login_attempts_per_minute
        refilled = (clock.monotonic() - began) * per_minute / 60
        assert seen.count(429) >= 1000 - per_minute - refilled - 1
        assert 429 not in seen[:per_minute]
        # Whoever has a right one is not locked out by somebody else at the same address, nor is anybody elsewhere.
        with guarded.api() as api:
            assert api.get("/api/v1/reports", headers=address).status_code == 200
        assert thief.get("/login", headers={"X-Forwarded-For": "203.0.113.78"}).status_code == 200
    eventually(lambda: len(audited(guarded, address="203.0.113.77", outcome="refused")) >= 1000)


LARGE = b"x" * (MAX_BODY_BYTES + 1)
OVERSIZE = {
    "a form": ("/settings/reports", {"content": LARGE}),
    "a form that does not say how long it is": ("/settings/reports", {"content": iter([LARGE[:1000], LARGE])}),
    "a question": ("/api/v1/reports", {"json": {"kind": "active", "user": "x" * MAX_BODY_BYTES}}),
    "a question that does not say how long it is": ("/api/v1/reports", {"content": iter([b'{"kind":"', LARGE])}),
    "a sign-in": ("/login", {"content": LARGE}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "sent"), OVERSIZE.values(), ids=OVERSIZE)
def test_what_is_too_large_is_refused(system, api, signed_in, path, sent):
    answer = (api if path.startswith("/api/") else signed_in).post(path, **sent)
    assert answer.status_code == 413
    assert "too large" in answer.text
    audited(system, target=path, outcome="refused", status=413)


ENDLESS = {
    "/settings/reports": {"kind": "inactive", "tz": "UTC", "days": "9" * 5000},
    "/settings/tokens": {"name": "a", "role": "viewer", "days": "9" * 5000},
    "/settings/schedules": {"name": "a", "every": "weekly", "weekday": "9" * 5000, "day": "1", "at": "06:00", "tz": "UTC", "kind": "active"},
}  # fmt: skip


@pytest.mark.parametrize(("path", "sent"), ENDLESS.items(), ids=ENDLESS)
def test_a_number_of_five_thousand_digits_is_a_wrong_field(signed_in, path, sent):
    answer = signed_in.post(path, data=sent | {"word": signed_in.word})
    assert answer.status_code == 422
    assert 'class="fault"' in answer.text


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 99999999999", b"413"),
        ("Content-Length: -1", b"400"),
        ("Content-Length: 1\r\nContent-Length: 2", b"400"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", b"400"),
        (f"X: {'x' * 200_000}", b"4"),
    ],
    ids=["far too long", "less than nothing", "two lengths", "two ways to end", "a header without end"],
)
def test_a_head_that_lies_gets_no_further(system, api, head, status):
    with socket.create_connection(("127.0.0.1", int(system.stack.url.rpartition(":")[2])), 30) as line:
        line.sendall(
            f"POST /api/v1/reports HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {api.headers['authorization']}\r\n"
            f"{head}\r\n\r\n".encode()
        )
        assert line.recv(100).split(b" ")[1].startswith(status)


INJECTED = {
    "the way back of a zone": lambda c: c.post("/zone", data={"word": c.word, "zone": "UTC", "back": "/x\r\nSet-Cookie: a=b"}),
    "the way back of a login": lambda c: c.get("/login", params={"back": "/x\r\nSet-Cookie: a=b"}),
    "a zone": lambda c: c.post("/zone", data={"word": c.word, "zone": "UTC\r\nSet-Cookie: a=b", "back": "/"}),
    "a path": lambda c: c.get("/settings/reports/runs/x%0d%0aSet-Cookie:%20a=b"),
    "a question": lambda c: c.get("/settings/audit", params={"who": "x\r\nSet-Cookie: a=b"}),
}  # fmt: skip


@pytest.mark.parametrize("ask", INJECTED.values(), ids=INJECTED)
def test_a_line_end_in_what_is_sent_makes_no_header(signed_in, ask):
    answer = ask(signed_in)
    assert answer.status_code < 500
    assert not [v for k, v in answer.headers.multi_items() if k == "set-cookie" and v.startswith("a=")]
    assert all("\r" not in v and "\n" not in v for v in answer.headers.values())


HOSTS = (
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "",
    "localhost@evil.example",
    "[::1",
    "localhost:x",
    "169.254.169.254",
)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/api/v1/reports", "/login", "/static/app.js", "/healthz"])
def test_another_name_for_this_machine_is_refused_everywhere(system, api, host, path):
    assert api.get(path, headers={"Host": host}).status_code in (400, 403)
    if host == HOSTS[0]:
        audited(system, target=path, outcome="refused", status=403)


OVERRIDES = {
    "a header": lambda c, p: c.get(p, headers={"X-HTTP-Method-Override": "DELETE"}),
    "a header on a post": lambda c, p: c.post(p, headers={"X-HTTP-Method-Override": "DELETE"}),
    "a field": lambda c, p: c.post(p, data={"_method": "DELETE"}),
    "a question": lambda c, p: c.get(p, params={"_method": "DELETE"}),
    "a page by address": lambda c, p: c.get(f"/settings/reports/runs/{p.rpartition('/')[2]}/delete"),
    "TRACE": lambda c, p: c.request("TRACE", p),
    "PUT": lambda c, p: c.put(p, json={}),
}


@pytest.mark.parametrize("trick", OVERRIDES.values(), ids=OVERRIDES)
def test_no_trick_turns_one_method_into_another(system, viewer, trick):
    run = viewer.post("/api/v1/reports", json={"kind": "inactive", "days": 32}).json()["run"]
    answer = trick(viewer, f"/api/v1/reports/{run}")
    assert answer.status_code in (200, 405)
    assert viewer.get(f"/api/v1/reports/{run}").status_code == 200
    viewer.delete(f"/api/v1/reports/{run}")


PATHS = (
    "/api/v1/reports/..%2f..%2f..%2fetc%2fpasswd/file", "/api/v1/reports/%2e%2e/file", "/api/v1/reports/....//x/file",
    "/api/v1/reports/x%00/file", "/settings/reports/runs/..%2f..%2fup.lock/download", "/static/..%2fviews.py",
    "/static/%2e%2e/%2e%2e/site.py", "/static//etc/passwd", "/static/app.js%00.py",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_where_files_lie(system, api, signed_in, path):
    answer = (api if path.startswith("/api/") else signed_in).get(path)
    assert answer.status_code in (404, 405)
    assert "root:" not in answer.text
    assert "import" not in answer.text


FORMS = ("../../etc/passwd", "gz/../..", "%00", "exe")


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_file_is_a_path(api, viewer, form):
    run = viewer.post("/api/v1/reports", json={"kind": "inactive", "days": 35}).json()["run"]
    eventually(lambda: viewer.get(f"/api/v1/reports/{run}").json()["state"] == "ready")
    assert viewer.get(f"/api/v1/reports/{run}/file", params={"form": form}).status_code == 422
    viewer.delete(f"/api/v1/reports/{run}")


@pytest.fixture(scope="module")
def baited(system, api):
    """Events whose every text is an attack: on a browser, and on a spreadsheet."""
    now = clock.now_ms()
    user = {"id": f"7{BAIT}", "email": f"=cmd|'/c calc'!a1{BAIT}@x.example"}
    connection = {
        "event_type": "closed_connection", "timestamp": now - 1000, "user": user,
        "connection": {"id": BAIT, "client_ip": "203.0.113.66", "duration": 1, "rx": 10**12, "tx": 1, "tunnel_path": "relayed", "error_message": BAIT},
        "connector": {"id": BAIT, "name": BAIT}, "device": {"id": BAIT}, "resource": {"address": BAIT, "id": BAIT, "applied_rule": BAIT},
        "remote_network": {"id": BAIT, "name": BAIT},
    }  # fmt: skip
    sign_in = {
        "version": 1, "id": BAIT, "time": f"{msgspec.json.decode(msgspec.json.encode(clock_iso(now - 1000)))}",
        "action": {"type": "reauth", "result": "failure", "reason": BAIT, "user": user | {
            "policy": {"id": BAIT, "name": BAIT}, "device": {"id": BAIT, "name": BAIT}, "resource": {"id": BAIT, "name": BAIT}},
            "client_ip": "203.0.113.66", "idp": {"name": BAIT, "error": BAIT, "error_description": BAIT},
            "mfa": {"method": BAIT, "actor": {"email": f"{BAIT}@x.example", "id": BAIT}}},
    }  # fmt: skip
    from tests.streams import Line

    system.produce([
        Line("connections", b"7", json.dumps(connection).encode()),
        Line("authentications", b"7", json.dumps(sign_in).encode()),
        Line("connections", b"7", json.dumps({"bad": BAIT, "event_type": BAIT}).encode()),
    ])  # fmt: skip
    eventually(
        lambda: (
            BAIT
            in json.dumps(
                api.get("/api/v1/snapshots/active", params={"window": "24h", "limit": 1000}).json()["rows"]
            ).replace('\\"', '"')
        )
    )
    return user


def clock_iso(ms):
    from pipeline.model.times import iso

    return iso(ms)


def test_what_events_say_is_text_on_every_page_and_in_every_mail(system, baited, signed_in, routes):
    run = {
        "word": signed_in.word,
        "kind": "authentication",
        "preset": "24h",
        "tz": "UTC",
        "user": baited["email"],
        "format": "json",
    }
    assert signed_in.post("/settings/reports", data=run).status_code == 303
    signed_in.get("/settings/audit", params={"who": BAIT})
    pages = sorted(
        {
            p
            for m, p in routes
            if m == "GET" and "{" not in p and not p.startswith(("/api/", "/login", "/events", "/metrics"))
        }
    )
    assert len(pages) >= 6
    seen = 0
    for page in pages:
        answer = signed_in.get(
            page, params={"window": "24h", "search": "cmd", "user": "cmd", "who": BAIT, "action": BAIT}
        )
        assert "<img src=x" not in answer.text, page
        assert "<script>alert" not in answer.text, page
        seen += "&lt;img src=x" in answer.text
    assert seen >= 2


def test_a_formula_in_an_address_is_text_to_a_spreadsheet(viewer, baited):
    run = viewer.post("/api/v1/reports", json={"kind": "active", "preset": "24h", "gzip": True}).json()["run"]
    eventually(lambda: viewer.get(f"/api/v1/reports/{run}").json()["state"] == "ready")
    body = gzip.decompress(viewer.get(f"/api/v1/reports/{run}/file").content).decode()
    rows = list(csv.reader(io.StringIO(body, newline="")))
    [mine] = [r for r in rows if "cmd|" in r[0]]
    assert mine[0] == f"'{baited['email'].casefold()}"
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
    viewer.delete(f"/api/v1/reports/{run}")
