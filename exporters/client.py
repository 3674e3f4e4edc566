"""The command line's way to the reports service: its public API, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from exporters.access import keys
from pipeline import clock
from pipeline.errors import RequestError, Unavailable
from pipeline.settings import Settings

POLL_SECONDS = 0.1


class Client:
    """Shows the service a token: the one given, or the one that lies in the data directory of this machine."""

    def __init__(self, settings: Settings) -> None:
        settings.needs("reports_url")
        self._settings = settings
        self._url = settings.reports_url
        token = settings.token or keys.local_token(settings)
        self._http = httpx.Client(
            base_url=self._url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {token}"}
        )

    def health(self) -> dict[str, Any]:
        """What the service says of itself, and how far each source is visible.  Raises RequestError, Unavailable."""
        return self._call("GET", "/api/v1/health")

    def report(self, ask: dict[str, Any], *, waiting: Callable[[str], None]) -> dict[str, Any]:
        """Ask for a report and wait until it is ready.  Raises RequestError, Unavailable."""
        run = self._call("POST", "/api/v1/reports", json=ask)
        state = ""
        while run["state"] in ("queued", "waiting", "building"):
            if run["state"] != state:
                state = run["state"]
                waiting(state)
            clock.pause(POLL_SECONDS)
            run = self._call("GET", f"/api/v1/reports/{run['run']}")
        if run["state"] != "ready":
            raise RequestError(f"the report {run['state']}: {run.get('error') or 'no reason given'}")
        return run

    def file(self, run_id: str) -> Iterator[bytes]:
        with self._http.stream("GET", f"/api/v1/reports/{run_id}/file") as answer:
            answer.raise_for_status()
            yield from answer.iter_raw()

    def link(self) -> str:
        """A link that signs one person in, once; it takes the key of this machine, whatever token is set.  Raises RequestError, Unavailable."""
        own = {"Authorization": f"Bearer {keys.local_token(self._settings)}"}
        return self._url + str(self._call("POST", "/api/v1/links", headers=own)["path"])

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **kwargs)
        except httpx.HTTPError:
            raise Unavailable(
                f"the reports service at {self._url} does not answer; start it with `activity up` or `activity reports`"
            ) from None
        if answer.status_code == 503:
            raise Unavailable(answer.json()["error"]["message"])
        if answer.status_code >= 400:
            raise RequestError(answer.json()["error"]["message"], status=answer.status_code)
        return dict(answer.json())
