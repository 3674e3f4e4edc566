"""Addresses: which are this machine, which names the service answers to, which are safe to sign in over.  PURE."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from exporters.access.rules import listed
from pipeline.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def safe(url: str) -> bool:
    """True if nobody on the way can read along."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and loopback(host)))


def names(settings: Settings) -> frozenset[str]:
    """What a request's Host may say: a page elsewhere may point a name of its own at this machine."""
    public = urlsplit(settings.public_url).hostname if safe(settings.public_url) else None
    return frozenset(
        [*LOOPBACK, *(h.casefold().strip("[]") for h in listed(settings.allowed_hosts)), *([public] if public else [])]
    )


def name_of(host: str) -> str:
    """The name in a Host header, without port and brackets; "" if it is none."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name.casefold() if bracket and (not port or port[1:].isdigit()) else ""
    name, _, port = host.partition(":")
    return name.casefold() if not port or port.isdigit() else ""
