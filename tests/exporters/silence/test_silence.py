"""Silence on a real system: an installation of its own that is told of it by webhook and by mail."""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psutil
import pytest

from deploy.local.processes import Child, free_port
from exporters.access import keys
from pipeline import broker
from pipeline import settings as settings_module
from tests.live.system import System, eventually
from tests.streams import Line

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("silence")]


class Hook:
    """A webhook that refuses the first call."""

    def __init__(self) -> None:
        self.got, self.calls = [], 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.calls += 1
                if hook.calls > 1:
                    hook.got.append(body)
                self.send_response(503 if hook.calls == 1 else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def of(self, name, kind="silence"):
        return [n for n in self.got if n["speaker"]["name"] == name and n["type"] == kind]


@pytest.fixture(scope="module")
def hook():
    made = Hook()
    yield made
    made.server.shutdown()


class Quiet:
    """`activity reports` with topics of its own and a short patience."""

    def __init__(self, kafka, redis, data, hook) -> None:
        self.port = free_port(0)
        values = {"kafka": kafka, "redis": redis, "reports_url": f"http://127.0.0.1:{self.port}", "app_id": "quiet", "topic_prefix": "quiet", "partitions": 2, "silence_minutes": 0.1, "silence_webhook": hook.url}  # fmt: skip
        (data / "activity.toml").write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))
        self.settings = settings_module.load(data)
        broker.create(self.settings)
        command = [sys.executable, "-m", "deploy.cli", "reports", "--data", str(data), "--port", str(self.port)]
        self.service = Child("quiet", command, data / "log")

    def speakers(self):
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{self.port}/api/v1/speakers",
                headers={"Authorization": f"Bearer {keys.local_token(self.settings)}"},
                trust_env=False,
                timeout=10,
            )
        except httpx.HTTPError:
            return {}
        return {s["name"]: s for s in answer.json().get("speakers", [])}


@pytest.fixture(scope="module")
def installation(tmp_path_factory, hook):
    """A system whose reports service is ours."""
    with System(tmp_path_factory.mktemp("silence")) as system:
        system.stack.child("reports").stop(8)
        quiet = Quiet(system.settings.kafka, system.settings.redis, tmp_path_factory.mktemp("quiet"), hook)
        quiet.service.start()
        yield system, quiet
        quiet.service.stop(8)


def say(system, *names):
    at = int(time.time() * 1000)
    for name in names:
        body = {
            "event_type": "closed_connection",
            "timestamp": at,
            "user": {"id": "1"},
            "connector": {"id": f"id-{name}", "name": name},
        }
        line = Line("connections", b"1", json.dumps(body).encode())
        system.producer.send("quiet.connections", key=line.key, value=line.value)
    system.producer.flush()


def test_who_falls_silent_is_told_once_over_a_death_and_told_again_when_it_speaks(installation, hook):
    system, quiet = installation
    say(system, "steady", "fragile")
    eventually(lambda: {"steady", "fragile"} <= set(quiet.speakers()), look=quiet.service.look)

    def steady():
        quiet.service.look()
        say(system, "steady")

    eventually(lambda: hook.of("fragile"), look=steady)
    assert eventually(lambda: quiet.speakers()["fragile"]["silent"], look=steady)
    assert not quiet.speakers()["steady"]["silent"]
    assert hook.calls > len(hook.got)
    psutil.Process(quiet.service.process.pid).children()[0].kill()
    quiet.service.look()
    eventually(lambda: quiet.speakers().get("fragile", {}).get("silent"), look=steady)
    before = quiet.speakers()["steady"]["heard_at"]
    eventually(lambda: quiet.speakers()["steady"]["heard_at"] > before + 8_000, look=steady)
    assert len({n["id"] for n in hook.of("fragile")}) == len(hook.of("fragile")) == 1
    say(system, "fragile")
    assert eventually(lambda: hook.of("fragile", "speaks_again"), look=steady)
    assert not hook.of("steady")
    metrics = httpx.get(f"http://127.0.0.1:{quiet.port}/metrics", trust_env=False).text
    assert 'activity_silent_speakers{kind="connector"} 0.0' in metrics
