"""Signing in at a provider: who gets in as what, and everything that must not get in."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from exporters.access.provider import Provider as Login
from pipeline import clock
from pipeline.errors import ConfigError, Unavailable
from tests.exporters.web.provider import CLIENT, SECRET
from tests.exporters.web.test_safety import audited
from tests.live.system import eventually


@pytest.fixture(autouse=True)
def honest(provider):
    provider.reset()
    yield
    provider.reset()


@pytest.fixture
def client(guarded):
    with guarded.browser() as browser:
        yield browser


def in_(client) -> bool:
    return client.get("/settings/reports").status_code == 200


def test_a_stranger_is_led_through_the_provider_back_to_the_page_asked_for(guarded, provider, client):
    provider.user("v", email="Vera@Corp.example", groups=["readers"])
    asked = "/settings/reports?kind=inactive&days=45"
    login = client.get(asked).headers["location"]
    page = client.get(login)
    assert page.status_code == 200
    assert "localhost" in page.text
    start = page.text.split('id="start" href="')[1].split('"')[0].replace("&amp;", "&")
    leaving = client.get(start)
    answer = client.get(guarded.choose(leaving.headers["location"], "v"))
    assert answer.status_code == 303
    assert answer.headers["location"] == asked
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    page = client.get(asked)
    assert "vera@corp.example" in page.text
    assert 'value="45"' in page.text
    query = {k: v[0] for k, v in parse_qs(urlsplit(leaving.headers["location"]).query).items()}
    assert query["client_id"] == CLIENT
    assert query["scope"] == "openid email profile"
    assert query["redirect_uri"] == f"{guarded.url}/login/callback"
    assert min(len(query[k]) for k in ("state", "nonce", "code_challenge")) > 30
    audited(guarded, who="vera@corp.example", action="GET /login/callback", outcome="done")


@pytest.mark.parametrize(
    ("back", "leads"),
    [("//evil.example/x", "/"), ("https://evil.example", "/"), ("/\\evil.example", "/"), ("/a\nb", "/"), ("/settings/reports#runs", "/settings/reports#runs")],
)  # fmt: skip
def test_the_way_back_never_leaves_this_site(guarded, provider, client, back, leads):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    assert guarded.sign_in(client, "v", back).headers["location"] == leads
    assert client.get("/login", params={"back": back}).headers["location"] == leads


PEOPLE = {
    "a group that administers": ({"email": "a@corp.example", "groups": ["x", "admins"]}, "admin"),
    "one group as text": ({"email": "a@corp.example", "groups": "staff"}, "admin"),
    "a group that reads": ({"email": "b@other.example", "groups": ["readers"]}, "viewer"),
    "no such group": ({"email": "c@corp.example", "groups": ["Readers", "*"]}, "none of your groups"),
    "no groups": ({"email": "c@corp.example"}, "none of your groups"),
    "groups of a wrong kind": ({"email": "c@corp.example", "groups": {"admins": 1}}, "none of your groups"),
    "another domain": ({"email": "a@evil.example", "groups": ["admins"]}, "Only people of corp.example, other.example"),
    "a domain that ends alike": ({"email": "a@evilcorp.example", "groups": ["admins"]}, "Only people of"),
    "two signs": ({"email": "a@corp.example@evil.example", "groups": ["admins"]}, "Only people of"),
    "an unverified address": (
        {"email": "a@corp.example", "email_verified": False, "groups": ["admins"]},
        "not verified",
    ),
    "a name of ours": ({"email": "local", "groups": ["admins"]}, "taken by the service"),
    "a token's name": ({"email": "token:x@corp.example", "groups": ["admins"]}, "taken by the service"),
    "no name": ({"groups": ["admins"]}, "does not say who you are"),
    "a name that is none": ({"email": ["a@corp.example"], "groups": ["admins"]}, "does not say who you are"),
}


@pytest.mark.parametrize(("claims", "expected"), PEOPLE.values(), ids=PEOPLE)
def test_who_may_sign_in_and_as_what(guarded, provider, client, claims, expected):
    provider.user("someone", **{"email": None, "groups": None} | claims)
    provider.twist = {"email": None, "groups": None} | claims
    answer = guarded.sign_in(client, "someone")
    if expected in ("admin", "viewer"):
        assert answer.status_code == 303
        assert client.get("/settings/tokens").status_code == (200 if expected == "admin" else 403)
        assert ("/settings/tokens" in client.get("/settings/reports").text) == (expected == "admin")
    else:
        assert answer.status_code == 403
        assert expected in answer.text
        assert "Try again" in answer.text
        assert not in_(client)
        audited(guarded, action="GET /login/callback", outcome="refused", status=403)


LIES = {
    "another issuer": ({"iss": "https://evil.example"}, "own", "another issuer"),
    "no issuer": ({"iss": None}, "own", "another issuer"),
    "another audience": ({"aud": "someone else"}, "own", "another service"),
    "several audiences": ({"aud": [CLIENT, "someone else"]}, "own", "another service"),
    "another login's nonce": ({"nonce": "n"}, "own", "another login"),
    "no nonce": ({"nonce": None}, "own", "another login"),
    "too old": ({"exp": time.time() - 61, "iat": time.time() - 3600}, "own", "too old"),
    "from the future": ({"nbf": time.time() + 3600}, "own", "not valid yet"),
    "made tomorrow": ({"iat": time.time() + 3600}, "own", "from the future"),
    "no end": ({"exp": None}, "own", "too old"),
    "another access token": ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "own", "another access token"),
    "signed by a stranger": ({}, "a stranger", "not signed by the provider"),
    "signed by nobody": ({}, "nobody", "not signed by the provider"),
    "signed with a shared secret": ({}, "public key as a secret", "not signed by the provider"),
}


@pytest.mark.parametrize(("twist", "signed", "said"), LIES.values(), ids=LIES)
def test_an_answer_that_does_not_fit_signs_nobody_in(guarded, provider, client, twist, signed, said):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    provider.twist, provider.sign = twist, signed
    answer = guarded.sign_in(client, "v")
    assert answer.status_code == 403
    assert said in answer.text
    assert not in_(client)


def test_clocks_may_be_off_by_the_setting(guarded, provider, client):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    provider.twist = {"exp": time.time() - 20, "iat": time.time() + 20}
    assert guarded.sign_in(client, "v").status_code == 303
    assert in_(client)


def test_new_keys_of_the_provider_are_fetched(guarded, provider, client):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    provider.new_keys("b")
    assert guarded.sign_in(client, "v").status_code == 303
    provider.new_keys("a")
    assert guarded.sign_in(client, "v").status_code == 303


def test_groups_that_are_only_told_elsewhere_count_if_they_are_the_same_persons(guarded, provider, client):
    sub = provider.user("v", email="vera@corp.example")
    provider.userinfo = {"sub": sub, "groups": ["readers"]}
    assert guarded.sign_in(client, sub).status_code == 303
    provider.userinfo = {"sub": "somebody else", "groups": ["readers"]}
    answer = guarded.sign_in(client, sub)
    assert answer.status_code == 403
    assert "two people" in answer.text


def test_a_login_belongs_to_the_browser_that_began_it_and_works_once(guarded, provider, client):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    arriving = guarded.choose(guarded.leave(client), "v")
    with guarded.browser() as victim:  # a link that would sign somebody in as somebody else
        assert victim.get(arriving).status_code == 403
        guarded.leave(victim)
        assert victim.get(arriving).status_code == 403
        assert not in_(victim)
    cookies = dict(client.cookies)
    assert client.get(arriving).status_code == 303
    with guarded.browser(cookies=cookies) as replayed:
        answer = replayed.get(arriving)
        assert answer.status_code == 403
        assert "invalid_grant" in answer.text


@pytest.mark.parametrize(
    ("error", "with_state", "shown"),
    [
        ("access_denied", True, "you, or a rule there, said no (access_denied)"),
        ("access_denied", False, "you, or a rule there, said no (access_denied)"),
        ("odd", True, "odd &lt;b&gt;no&lt;/b&gt;Set-Cookie"),
        ("odd", False, "did not begin in this browser"),
    ],
)
def test_no_at_the_provider_is_said_in_plain_words(guarded, client, error, with_state, shown):
    leaving = guarded.leave(client)
    state = parse_qs(urlsplit(leaving).query)["state"][0]
    said = {"error": error, "error_description": "<b>no</b>\r\nSet-Cookie: x=y"} | (
        {"state": state} if with_state else {}
    )
    answer = client.get("/login/callback", params=said)
    assert answer.status_code == 403
    assert shown in answer.text
    assert "x" not in answer.cookies
    assert not in_(client)


@pytest.mark.parametrize("when", ["before leaving", "on the way"])
def test_a_provider_that_is_down_is_said_and_tokens_and_sessions_go_on(guarded, provider, client, when):
    sub = provider.user("v", email="vera@corp.example", groups=["readers"])
    assert guarded.sign_in(client, sub).status_code == 303
    with guarded.browser() as another:
        if when == "on the way":
            arriving = guarded.choose(guarded.leave(another), sub)
            provider.down = True
            answer = another.get(arriving)
        else:
            provider.down = True
            answer = another.get("/login/start")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "Signing in is not possible for now" in answer.text
        assert "activity link" in answer.text
    assert in_(client)
    with guarded.api() as api:
        assert api.get("/api/v1/reports").status_code == 200
    audited(guarded, outcome="failed", status=503)


def test_signing_out_holds_for_copies_of_the_cookie_too(guarded, provider, client):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    guarded.sign_in(client, "v")
    copy = dict(client.cookies)
    assert client.post("/logout", data={"word": guarded.word(client)}).status_code == 303
    with guarded.browser(cookies=copy) as thief:
        assert not in_(thief)


def test_an_open_page_is_told_nothing_more_once_its_session_has_ended(guarded, provider, client):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    guarded.sign_in(client, "v")
    cookies, word = dict(client.cookies), guarded.word(client)
    with guarded.browser(cookies=cookies) as page, page.stream("GET", "/events?window=24h") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        assert client.post("/logout", data={"word": word}).status_code == 303
        with guarded.api() as api:
            run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 43}).json()["run"]
            for line in lines:
                assert not line.startswith("event")
            api.delete(f"/api/v1/reports/{run}")


def test_a_page_that_was_left_open_leads_to_the_sign_in_and_its_questions_are_no_news(guarded, provider, client):
    begun = clock.now_ms()
    page = {"HX-Request": "true", "HX-Current-URL": f"{guarded.url}/settings/reports?kind=active&user=a%26b#runs"}
    poll = client.get("/settings/reports/runs", headers=page)
    assert poll.status_code == 401
    way = urlsplit(poll.headers["hx-redirect"])
    assert (way.path, parse_qs(way.query)) == ("/login", {"back": ["/settings/reports?kind=active&user=a%26b"]})
    assert client.get("/overview/numbers", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/login"
    assert (
        client.get("/settings/reports/runs", headers=page | {"HX-Current-URL": "http://["}).headers["hx-redirect"]
        == "/login"
    )
    assert client.get("/settings/sync/list").headers["location"] == "/login?back=/settings/sync/list"
    assert client.get("/settings/audit", headers=page).status_code == 401
    entries = eventually(lambda: [e.target for e in audited(guarded, status=401) if e.at >= begun])
    assert entries == ["/settings/audit"]


def test_one_persons_report_is_not_there_for_another(guarded, provider, client):
    provider.user("v", email="vera@corp.example", groups=["readers"])
    provider.user("w", email="will@corp.example", groups=["readers"])
    guarded.sign_in(client, "v")
    sent = {"word": guarded.word(client), "kind": "inactive", "days": "30", "tz": "UTC"}
    run = parse_qs(urlsplit(client.post("/settings/reports", data=sent).headers["location"]).query)["asked"][0]
    page = f"/settings/reports/runs/{run}"
    assert client.get(page).status_code == 200
    with guarded.browser() as other:
        guarded.sign_in(other, "w")
        word = guarded.word(other)
        assert run not in other.get("/settings/reports").text
        assert other.get(page).status_code == 404
        assert other.get(f"{page}/download").status_code == 404
        for what in ("again", "cancel", "delete"):
            assert other.post(f"{page}/{what}", data={"word": word}).status_code == 404
    assert client.get(page).status_code == 200


def test_it_answers_to_its_names_on_every_address_and_believes_its_proxy_only(guarded, client):
    assert client.get("/login", headers={"Host": "reports.test"}).status_code == 200
    assert client.get("/login", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/healthz", headers={"Host": "10.1.2.3:8080"}).status_code == 200
    behind = {"Host": "reports.test", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    answer = client.get("/login/start", headers=behind)
    assert "Secure" in answer.headers["set-cookie"]
    audited(guarded, action="GET /login/start", address="203.0.113.9")
    assert "Secure" not in client.get("/login/start").headers["set-cookie"]
    assert httpx.get(f"http://127.0.0.2:{guarded.port}/healthz", trust_env=False).status_code == 200


WRONG = {
    "nobody administers": {"login_admin_groups": ""},
    "nobody may sign in": {"login_viewer_groups": ""},
    "no client": {"login_client_id": ""},
    "cookies in the clear": {"public_url": "http://reports.example.com"},
    "no address to come back to": {"public_url": ""},
    "a provider in the clear": {"login_issuer": "http://idp.example.com"},
    "a short key": {"session_key": "secret"},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_login_that_cannot_work_is_refused_at_the_start(guarded, change):
    settings = guarded.settings.model_copy(update=change)
    with pytest.raises(ConfigError, match=f"ACTIVITY_{next(iter(change)).upper()}"):
        Login(settings)


def test_secrets_of_the_login_are_never_printed(guarded):
    assert SECRET not in repr(guarded.settings)
    assert SECRET not in str(guarded.settings.model_copy(update={"session_key": SECRET * 2}))


@pytest.mark.parametrize("description", [{"issuer": "https://evil.example"}, {"token_endpoint": None}, {"issuer": 7}])
def test_a_description_of_another_issuer_is_not_believed(guarded, provider, description):
    provider.description = description
    with pytest.raises(Unavailable, match="another issuer"):
        Login(guarded.settings).leave("/")
