"""One real system for this room's tests, and a real browser in front of it."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from exporters.access import keys
from exporters.client import Client
from tests.exporters.web.guarded import Guarded
from tests.live.system import System
from tests.streams import Stream

# The European change to summer time lies inside.
START = int(datetime(2026, 3, 25, tzinfo=UTC).timestamp() * 1000)
SCREENS = Path(__file__).parents[2] / ".artifacts" / "screens"


def axe(page, *, everything=False, **options):
    """What axe finds on a page.  Every page has the same list of four hundred zones, which takes most of the time: it is looked at with `everything`."""
    from axe_playwright_python.sync_playwright import Axe

    context = None if everything else {"exclude": [["#zone"]]}
    chosen = {"resultTypes": ["violations"], "preload": False} | options
    return Axe().run(page, context=context, options=chosen).response["violations"]


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items):
    for item in items:
        if {"system", "guarded"} & set(getattr(item, "fixturenames", ())) and Path(
            __file__
        ).parent in item.path.parents:
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.xdist_group("web"))


@pytest.fixture(scope="package")
def stream():
    return Stream(11, start_ms=START)


@pytest.fixture(scope="package")
def system(tmp_path_factory, stream):
    data = tmp_path_factory.mktemp("web")
    (data / "users.json").write_text(json.dumps(stream.accounts()))
    with System(data) as running:
        assert running.activity("users", "import", str(data / "users.json")).returncode == 0
        running.produce(stream.lines(5_000))
        yield running


@pytest.fixture(scope="package")
def provider():
    """Where people sign in, on this machine."""
    from tests.exporters.web.provider import running

    with running() as ready:
        yield ready


@pytest.fixture(scope="package")
def guarded(system, provider, tmp_path_factory):
    """A second installation on the same Kafka: with login, on every address of this machine, under a name of its own."""
    data = tmp_path_factory.mktemp("guarded")
    with Guarded(system, provider, data) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("NO BROWSER: install chromium (`make browser`) to run the browser tests")
    from playwright.sync_api import sync_playwright

    quiet = "--disable-background-networking --disable-component-update --disable-sync --disable-quic --no-first-run"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", *quiet.split()]
        )
        yield running
        running.close()


@pytest.fixture(scope="package")
def api(system):
    """The API as an administrator's program sees it."""
    token = keys.local_token(system.settings)
    with httpx.Client(
        base_url=system.stack.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
    ) as client:
        yield client


@pytest.fixture(scope="package")
def routes(system, tmp_path_factory):
    """[(method, path)] of the whole application; one, for a process has one embedded store."""
    from fastapi.routing import APIRoute

    from exporters.service import Service
    from exporters.web import site

    settings = system.settings.model_copy(update={"data": tmp_path_factory.mktemp("routes")})
    found = []

    def walk(routes):
        for route in routes:
            if isinstance(route, APIRoute):
                found.extend((m, route.path) for m in route.methods)
            elif hasattr(route, "original_router"):
                walk(route.original_router.routes)

    walk(site.make(Service(settings)).routes)
    return found


@pytest.fixture(scope="package")
def bearer(system, api):
    """`bearer(name, role)` is a program with a token of its own; `.token` is what the list says of it."""
    made = []

    def program(name, role="viewer"):
        answer = api.post("/api/v1/tokens", json={"name": name, "role": role, "days": 1}).json()
        client = httpx.Client(
            base_url=system.stack.url,
            headers={"Authorization": f"Bearer {answer['secret']}"},
            trust_env=False,
            timeout=30,
        )
        client.token = answer["token"]
        client.secret = answer["secret"]
        made.append(client)
        return client

    yield program
    for client in made:
        client.close()


@pytest.fixture
def signed_in(system):
    """A browser without a window: cookies of a fresh session, and `word` for its forms."""
    with httpx.Client(base_url=system.stack.url, trust_env=False, timeout=30) as client:
        assert client.get(Client(system.settings).link()).status_code == 303
        client.word = re.search(r'name="word" value="(\w+)"', client.get("/settings/reports").text)[1]
        yield client


@pytest.fixture
def visit(system, browser, request):
    """`visit(zone=…, script=…)` opens the service in a fresh browser; scripts that fail fail the test."""
    contexts, errors = [], []

    def opened(path="/settings/reports", *, zone="Europe/Berlin", script=True, **options):
        context = browser.new_context(
            timezone_id=zone, java_script_enabled=script, viewport={"width": 1360, "height": 900}, **options
        )
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if "Content Security Policy" in m.text else None)
        page.goto(Client(system.settings).link())
        if path != "/":  # the link leads there
            page.goto(system.stack.url + path)
        return page

    yield opened
    SCREENS.mkdir(parents=True, exist_ok=True)
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=SCREENS / f"{request.node.name}-{number}.png".replace("/", "_"), full_page=True)
        context.close()
    assert errors == []
