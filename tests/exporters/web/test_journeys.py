"""Ways through the pages in a real browser: by keyboard alone, without the event stream, signing in at a provider, and what axe says of each page."""

from __future__ import annotations

import csv
import gzip
import io
import re
from urllib.parse import quote

import httpx
import pytest

from exporters.web.views import NAVIGATION
from tests.exporters.web.conftest import SCREENS, axe
from tests.exporters.web.test_reports_page import at, finished, newest
from tests.live.system import eventually

# Opened by address, not by a person; or no page at all.
NOT_PAGES = (
    "/api/",
    "/events",
    "/healthz",
    "/metrics",
    "/login/start",
    "/login/callback",
    "/settings/reports/window",
    "/settings/reports/runs",
    "/settings/sync/list",
    "/overview/numbers",
)


@pytest.fixture(scope="module")
def addresses(api, routes):
    """Every page there is but those of the navigation, with something on it where a page is about one thing."""
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 30}).json()["run"]
    eventually(lambda: api.get(f"/api/v1/reports/{run}").json()["state"] == "ready")
    api.post("/api/v1/tokens", json={"name": "axe looks at it", "role": "viewer", "days": 1})
    about = {
        "{run_id}": run,
        "{person}": "user1@corp.example.com",
        "{user}": "user1@corp.example.com",
        "{email}": "user1@corp.example.com",
    }
    found = {
        re.sub(r"{\w+}", lambda name: about.get(name[0], name[0]), path)
        for method, path in routes
        if method == "GET" and not path.startswith(NOT_PAGES) and not path.endswith("/download")
    }
    found = {path for path in found if "{" not in path} - {path for path, _ in NAVIGATION}
    return sorted({*found, f"/settings/reports/runs/{run}", "/nowhere"})


def problems(page, **options):
    """What axe finds, one line each."""
    return [
        f"{page.url}: {v['id']}: {v['help']}: {[n['html'][:200] for n in v['nodes']][:3]}" for v in axe(page, **options)
    ]


def test_every_other_page_is_clean_in_the_light_in_the_dark_and_on_a_phone(system, visit, addresses):
    """Those of the navigation are looked at in test_look.py."""
    assert len(addresses) >= 4
    page = visit()
    SCREENS.mkdir(parents=True, exist_ok=True)
    said = []
    for path in addresses:
        page.goto(system.stack.url + path)
        name = path.strip("/").replace("/", "-")[:40]
        page.screenshot(path=SCREENS / f"page-{name}-light.png", full_page=True)
        said += problems(page)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=SCREENS / f"page-{name}-dark.png", full_page=True)
        said += problems(page, runOnly=["color-contrast"])
        page.set_viewport_size({"width": 360, "height": 780})
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 360:
            said.append(f"{path} is {width} wide on a phone")
        page.set_viewport_size({"width": 1360, "height": 900})
        page.emulate_media(color_scheme="light")
    assert said == []


def test_axe_finds_nothing_on_a_form_with_faults_and_on_the_sign_in(system, visit, guarded, browser):
    page = visit("/settings/reports")
    page.check("input[name=preset][value=custom]", force=True)
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("alert").wait_for()
    said = problems(page)
    page.goto(f"{system.stack.url}/settings/tokens")
    page.fill("#name", "<not a name>")
    page.get_by_role("button", name="Make token").click()
    page.locator("#name-fault").wait_for()
    said += problems(page)
    stranger = browser.new_context().new_page()
    for url in (
        f"{guarded.url}/settings/reports",
        f"{guarded.url}/login/callback?state=x&code=y",
        f"{system.stack.url}/login",
    ):
        stranger.goto(url)
        said += problems(stranger)
    stranger.context.close()
    assert said == []


def tab_to(page, what: str, *, most: int = 120) -> None:
    """Go on with the Tab key until this has the focus, which must be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(what) => document.activeElement.matches(what)", what):
            seen = page.evaluate(
                "() => { const e = document.activeElement, s = getComputedStyle(e);"
                " const near = e.closest('label') ? getComputedStyle(e.nextElementSibling ?? e) : s;"
                " return [s.outlineStyle, near.outlineStyle, s.boxShadow, near.boxShadow].some((x) => x !== 'none' && x !== ''); }"
            )
            assert seen, f"nothing shows that {what} has the focus"
            return
    raise AssertionError(f"the Tab key does not lead to {what}")


def test_a_report_by_keyboard_alone(system, api, stream, visit):
    page = visit("/settings/reports", zone="America/St_Johns")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to(page, "input[name=kind]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.value") == "active"
    tab_to(page, "input[name=preset]")
    for _ in range(9):
        if page.evaluate("document.activeElement.value") == "custom":
            break
        page.keyboard.press("ArrowRight")
    tab_to(page, "#from")
    page.fill("#from", "2026-03-27T00:00")  # the parts of such a field are the browser's own
    tab_to(page, "#to")
    page.fill("#to", "2026-03-28T00:00")
    tab_to(page, "#tz")
    assert page.input_value("#tz") == "America/St_Johns"
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    row = page.locator("tr.asked")
    row.wait_for()
    finished(page)
    tab_to(page, "tr.asked a[id^=download]")
    with page.expect_download() as taken:
        page.keyboard.press("Enter")
    rows = list(csv.reader(io.StringIO(gzip.decompress(taken.value.path().read_bytes()).decode(), newline="")))
    zone = "America/St_Johns"
    expected = system.oracle(stream.accounts()).active(
        at("2026-03-27", zone), at("2026-03-28", zone), newest(api)["requested_at"]
    )
    assert rows[1:] == expected
    assert expected
    tab_to(page, "tr.asked summary")
    page.keyboard.press("Enter")
    assert row.locator("details").get_attribute("open") is not None
    page.keyboard.press("Escape")
    assert row.locator("details").get_attribute("open") is None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_the_zone_is_chosen_by_keyboard_and_leads_back_to_what_was_shown(system, visit):
    page = visit(shown := "/sign-ins?preset=7d&user=a%26b%2Bc%40corp.example&result=failure", zone="Europe/Berlin")
    posted = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    names = page.locator("#zone option").all_inner_texts()
    page.focus("#zone")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    chosen = names[names.index("Europe/Berlin") + 3]
    assert page.input_value("#zone") == chosen
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url == system.stack.url + shown
    assert page.evaluate("document.documentElement.dataset.zone") == page.input_value("#zone") == chosen
    assert page.input_value("#user") == "a&b+c@corp.example"
    assert posted == [f"{system.stack.url}/zone"]


@pytest.mark.parametrize("path", ["/settings/reports?kind=inactive", "/overview?window=7d"])
def test_a_page_that_was_left_open_leads_to_the_sign_in_when_its_session_is_over(system, visit, path):
    page = visit(path)
    page.wait_for_load_state("networkidle")
    page.context.clear_cookies(name=re.compile("^activity_"))
    page.evaluate("['runs', 'numbers'].forEach((event) => htmx.trigger(document.body, event))")
    page.wait_for_url(re.compile("/login"))
    assert page.url == f"{system.stack.url}/login?back={quote(path)}"


def test_without_the_event_stream_the_page_asks_by_itself(system, api, visit):
    page = visit()
    page.route("**/events", lambda route: route.abort())
    page.goto(f"{system.stack.url}/settings/reports")
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 41}).json()["run"]  # not by this page
    page.locator(f"#run-{run} .badge.ready").wait_for(timeout=60_000)
    api.delete(f"/api/v1/reports/{run}")
    page.locator(f"#run-{run}").wait_for(state="detached", timeout=60_000)


def test_with_it_the_page_is_told(system, api, visit):
    page = visit("/settings/reports")
    page.route("**/settings/reports/runs*", lambda route: route.continue_())
    page.evaluate("document.querySelector('#runs').setAttribute('hx-trigger', 'runs from:body')")
    page.evaluate("htmx.process(document.querySelector('#runs'))")
    run = api.post("/api/v1/reports", json={"kind": "inactive", "days": 42}).json()["run"]
    page.locator(f"#run-{run} .badge.ready").wait_for(timeout=60_000)
    api.delete(f"/api/v1/reports/{run}")


def test_cancel_and_again_without_script(system, api, visit):
    worker = system.stack.child("worker")
    system.stack._children.remove(worker)
    worker.stop(20)
    try:
        from tests.streams import Stream

        system.produce([next(iter(Stream(98, start_ms=at("2026-03-25", "UTC")).lines(1)))])
        page = visit("/settings/reports", script=False)
        page.check("input[name=kind][value=inactive]")
        page.fill("#days", "44")
        page.get_by_role("button", name="Generate").click()
        asked = page.locator("tr.asked")
        run_id = asked.get_attribute("id").removeprefix("run-")
        page.locator("tr.asked").get_by_role("button", name="Cancel").click()
        assert api.get(f"/api/v1/reports/{run_id}").json()["state"] == "cancelled"
        row = page.locator(f"#run-{run_id}")
        row.get_by_role("button", name="Run again").click()
        assert page.locator("tr.asked").get_attribute("id") != f"run-{run_id}"
    finally:
        worker.start()
        system.stack._children.append(worker)
    page.locator("tr.asked th a").click()
    page.get_by_role("link", name="Download", exact=True).wait_for()
    page.goto(f"{system.stack.url}/settings/reports/runs/{run_id}")
    page.get_by_role("button", name="Delete").click()
    assert api.get(f"/api/v1/reports/{run_id}").status_code == 404


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
def test_a_token_is_made_copied_used_and_revoked(system, visit, script):
    options = {"permissions": ["clipboard-read", "clipboard-write"]} if script else {}
    page = visit("/settings/tokens", script=script, **options)
    page.fill("#name", f"browser {script}")
    page.check("input[name=role][value=admin]")
    page.select_option("#days", "30")
    page.get_by_role("button", name="Make token").click()
    secret = page.locator("#secret").inner_text()
    if script:
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == secret

    def status():
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{system.stack.url}/api/v1/tokens", headers=headers, trust_env=False).status_code

    assert status() == 200
    page.goto(f"{system.stack.url}/settings/tokens")
    assert secret not in page.content()
    row = page.locator(f"#token-{secret[:11]}")
    assert "active" in row.inner_text()
    row.get_by_role("button", name="Revoke").click()
    assert "revoked" in page.locator(f"#token-{secret[:11]}").inner_text()
    assert status() == 401
    page.goto(f"{system.stack.url}/settings/audit?action=revoke")
    assert f"token {secret[:11]}" in page.locator("tbody tr").first.inner_text()


def test_the_audit_goes_back_page_by_page_and_by_filter(system, api, visit):
    for number in range(120):
        assert api.get(f"/api/v1/reports/none-{number}").status_code == 404
    page = visit("/settings/audit")
    page.fill("#action", "none-")
    page.select_option("#outcome", "failed")
    with page.expect_navigation():
        page.get_by_role("button", name="Filter").click()
    seen = page.locator("tbody tr").evaluate_all("rows => rows.map((r) => r.innerText)")
    with page.expect_navigation():
        page.locator("#older").click()
    seen += page.locator("tbody tr").evaluate_all("rows => rows.map((r) => r.innerText)")
    numbers = [int(re.search(r"none-(\d+)", row)[1]) for row in seen]
    assert numbers == list(range(119, -1, -1))
    entry = api.get("/api/v1/audit", params={"action": "none-77"}).json()["entries"]
    assert [(e["who"], e["status"], e["outcome"]) for e in entry] == [("local", 404, "failed")]


def test_signing_in_at_a_provider_and_out_again(guarded, provider, browser):
    provider.reset()
    provider.user("ada", email="ada@corp.example", groups=["staff"])
    context = browser.new_context(timezone_id="Asia/Kolkata", base_url=guarded.url)
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto("/settings/audit?outcome=refused")
    page.get_by_role("link", name="Sign in").click()
    page.fill("input[name=sub]", "ada")
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url("**/settings/audit?outcome=refused")
    assert "ada@corp.example" in page.locator("header").inner_text()
    page.screenshot(path=SCREENS / "signed-in.png")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto("/settings/reports")
    assert "/login?back=/settings/reports" in page.url
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Deny").click()
    assert "access_denied" in page.get_by_role("alert").inner_text()
    page.get_by_role("link", name="Try again").wait_for()
    context.close()
