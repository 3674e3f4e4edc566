"""Every page as people meet it: wide and light, narrow and dark; nothing for axe to find, nothing that sticks out, everything by keyboard."""

from __future__ import annotations

import re
import time

import pytest

from exporters.web.views import NAVIGATION
from tests.exporters.web.conftest import SCREENS, axe
from tests.exporters.web.test_numbers import DAY, event, settled
from tests.streams import Line, Stream

LONG = "a.very.long.name-" + "x" * 180
LOOKS = {
    "wide-light": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "light"},
    "narrow-dark": {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark"},
}
# What people get to by a link on one of the pages of the navigation: where, and which link.
DETAILS = (
    ("/users?search=user1", "#users tbody a"),
    (f"/users?search={LONG}", "#users tbody a"),
    ("/rejects", "#rejects tbody a"),
    ("/overview", "nav.pills a >> nth=2"),
    ("/sign-ins?preset=30d&result=failure", "#export"),
)
OTHERS = (
    "/users?search=nobody+at+all",
    "/users?sort=bytes&order=desc&window=24h",
    "/sign-ins?preset=30d&result=failure",
    "/sign-ins?preset=custom&from=2026-03-01T00:07&to=2026-03-02T00:00",
    "/sign-ins?user=nobody",
    "/rejects?reason=bad_time",
    "/nowhere",
)
INTERACTIVE = "main :is(a[href], button, input:not([type=hidden]), select, summary, [tabindex='0'])"


@pytest.fixture(scope="module")
def filled(system, api):
    now = int(time.time() * 1000)
    system.produce(Stream(37, start_ms=now - 5 * DAY, days=5).lines(1_500))
    system.produce([event(LONG, now), Line("connections", b"k", b'{"x":"' + b"y" * 400 + b'"}')])
    settled(api)


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_and_nothing_sticks_out(filled, system, browser, look):
    from exporters.client import Client

    context = browser.new_context(timezone_id="Asia/Kathmandu", **LOOKS[look])
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(Client(system.settings).link())
    SCREENS.mkdir(parents=True, exist_ok=True)
    wrong = []

    def judge(name):
        name = re.sub(r"\W+", "-", name).strip("-")[:60]
        page.screenshot(path=SCREENS / f"look-{look}-{name}.png", full_page=True)
        found = axe(page, everything=name == "overview")
        wrong.extend((name, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found)
        sticks_out = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wrong.extend([(name, "sticks out", sticks_out)] if sticks_out > 0 else [])

    try:
        for address, _ in NAVIGATION:
            page.goto(system.stack.url + address)
            judge(address)
        for address in OTHERS:
            page.goto(system.stack.url + address)
            judge(address)
        for address, link in DETAILS:
            page.goto(system.stack.url + address)
            with page.expect_navigation():
                page.locator(link).first.click()
            judge(f"{address} {link}")
        context.clear_cookies()
        page.goto(system.stack.url + "/login")
        judge("login")
    finally:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("address", ["/overview", "/users?search=user1", "/sign-ins?preset=custom", "/rejects"])
def test_everything_is_reached_by_keyboard(filled, visit, address):
    page = visit(address)
    page.evaluate("document.querySelectorAll('[hx-get]').forEach((e) => e.removeAttribute('hx-trigger'))")
    wanted = page.evaluate(
        """(what) => [...document.querySelectorAll(what)].filter((e) => e.checkVisibility() && !(e.type === 'radio' && !e.checked))
        .map((e, n) => (e.dataset.n = n))""",
        INTERACTIVE,
    )
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(3 * len(wanted) + 20):
        page.keyboard.press("Tab")
        n = page.evaluate("document.activeElement.dataset.n ?? null")
        if n is not None:
            reached.add(int(n))
        if len(reached) == len(wanted):
            break
    assert set(wanted) - reached == set()
