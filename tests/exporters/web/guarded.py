"""An installation with login: its own topics, its own data directory, `activity reports` as an operator runs it."""

from __future__ import annotations

import re
import sys
from urllib.parse import urljoin

import httpx

from deploy.local.processes import Child, free_port
from exporters.access import keys
from pipeline import broker
from pipeline import settings as settings_module
from tests.exporters.web.provider import CLIENT, SECRET
from tests.live.system import eventually

NAME = "reports.test"


class Guarded:
    def __init__(self, system, provider, data) -> None:
        self.data, self.provider = data, provider
        self.port = free_port(0)
        self.url = f"http://localhost:{self.port}"
        secret = data / "client.secret"
        secret.write_text(SECRET + "\n")
        values = {
            "kafka": system.settings.kafka,
            "redis": system.settings.redis,
            "reports_url": self.url,
            "public_url": self.url,
            "reports_host": "0.0.0.0",
            "reports_port": self.port,
            "allowed_hosts": NAME,
            "trusted_proxies": "127.0.0.1",
            "app_id": "guarded",
            "topic_prefix": "guarded",
            "partitions": 1,
            "login_issuer": provider.url,
            "login_client_id": CLIENT,
            "login_client_secret": SECRET,
            "login_admin_groups": "staff, admins",
            "login_viewer_groups": "readers",
            "login_domains": "corp.example, @other.example",
            "login_attempts_per_minute": 100,
        }
        lines = [
            *(f"{k} = {_toml(v)}" for k, v in values.items()),
            "[destinations.fixed]",
            f'target = "{data / "objects"}"',
        ]
        (data / "activity.toml").write_text("\n".join(lines))
        self.settings = settings_module.load(data)
        self.service = Child(
            "guarded", [sys.executable, "-m", "deploy.cli", "reports", "--data", str(data)], data / "log"
        )

    def __enter__(self):
        broker.create(self.settings)
        self.service.start()
        eventually(self._answers, look=self.service.look)
        return self

    def __exit__(self, *_):
        self.service.stop(8)

    def _answers(self):
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def browser(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=30, **options)

    def api(self) -> httpx.Client:
        return self.browser(headers={"Authorization": f"Bearer {keys.local_token(self.settings)}"})

    def leave(self, client, back="/settings/reports") -> str:
        """Begin a login; where the provider would have the person choose."""
        answer = client.get("/login/start", params={"back": back})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def choose(self, url, sub, **form) -> str:
        """What the provider sends the browser back to."""
        answer = httpx.post(url, data={"sub": sub} | form, trust_env=False)
        assert answer.status_code in (302, 303), answer.text
        return urljoin(url, answer.headers["location"])

    def sign_in(self, client, sub, back="/settings/reports") -> httpx.Response:
        return client.get(self.choose(self.leave(client, back), sub))

    def word(self, client) -> str:
        return re.search(r'name="word" value="(\w+)"', client.get("/settings/reports").text)[1]


def _toml(value) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'
