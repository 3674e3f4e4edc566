"""The reports service: one process, one web server in front of one store."""

from __future__ import annotations

import gc
import os
import socket
import sys

import uvicorn

from exporters.access.hosts import loopback
from exporters.service import Service
from exporters.web import site
from pipeline import broker, logs
from pipeline.errors import ConfigError
from pipeline.settings import Settings

# Longer than the minute for which proxies keep a connection: a request on its way must not meet one that we have just closed.
KEPT_OPEN_SECONDS = 75


def main(settings: Settings) -> None:
    """Serve until a signal.  Raises ConfigError."""
    logs.configure(level=settings.log_level, json_lines=settings.log_json)
    settings.needs("kafka", "redis")
    if not loopback(settings.reports_host) and not settings.login_issuer:
        raise ConfigError(
            f"ACTIVITY_REPORTS_HOST={settings.reports_host}: no login is configured, so only a loopback address is accepted; "
            "use 127.0.0.1, or set ACTIVITY_LOGIN_ISSUER"
        )
    broker.ready(settings)
    with _listen(settings) as listener:
        _serve(settings, listener)


def _listen(settings: Settings) -> socket.socket:
    """Before anything else is opened: the server itself says only in its log that a port is taken."""
    host, port = settings.reports_host, settings.reports_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"{host} port {port} cannot be listened on ({os.strerror(error.errno or 0)}); choose another with --port, ACTIVITY_REPORTS_PORT or ACTIVITY_REPORTS_HOST"
        ) from None
    # The event loop only does so for sockets that it made itself; without, a body that follows its headers waits 40 ms for the reader's kernel.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _serve(settings: Settings, listener: socket.socket) -> None:
    # Threads that compute in Python hand over after a fifth of a millisecond, not five: an answer passes through several such hands.
    sys.setswitchinterval(0.0002)
    service = Service(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            site.make(service),
            log_level="warning",
            proxy_headers=bool(settings.trusted_proxies),  # else anybody could choose the address in the audit
            forwarded_allow_ips=settings.trusted_proxies or None,
            server_header=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=KEPT_OPEN_SECONDS,
        )
    )

    def end() -> None:
        server.should_exit = True

    service.projector.on_problem = end
    gc.freeze()  # what stands now stays, and need not be looked through for garbage while an answer waits
    gc.set_threshold(5_000, 20, 100)  # a look at more young objects would take too long for that
    service.start()
    try:
        server.run(sockets=[listener])
    finally:
        service.stop()
    if service.projector.problem is not None:
        raise service.projector.problem
