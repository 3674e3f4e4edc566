"""Client addresses in one spelling: port stripped, IPv4-mapped IPv6 as IPv4, IPv6 canonical and lower case."""

from __future__ import annotations

import ipaddress
import re

# Real networks repeat their addresses; a flood of new ones only empties the cache.
CACHE_SIZE = 65_536

_PORT = re.compile(r"^(?:\[(?P<six>[^\]]*)\](?::\d{1,5})?|(?P<four>[0-9.]+):\d{1,5})$", re.ASCII)
cache: dict[str, str] = {}  # every address that was one, as written: canonical


def canonical(text: str) -> str:
    """The canonical spelling, "" for no address.  Raises ValueError for anything else that is not an address."""
    known = cache.get(text)
    if known is not None:
        return known
    result = _canonical(text)
    if len(cache) >= CACHE_SIZE:
        cache.clear()
    cache[text] = result
    return result


def _canonical(text: str) -> str:
    if not text:
        return ""
    match = _PORT.match(text)
    if match is not None:
        port = text.rpartition(":")[2] if not text.endswith("]") else "0"
        if int(port) > 65_535:
            raise ValueError(f"not a port: {port}")
        if match["four"] is None:
            return _spell(ipaddress.IPv6Address(match["six"]))
        text = match["four"]
    return _spell(ipaddress.ip_address(text))


def _spell(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError("a zone is not an address")
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)
