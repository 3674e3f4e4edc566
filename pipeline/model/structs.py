"""Make every struct's reader before threads begin.

msgspec describes a struct to itself when it is first decoded, in steps that other threads may interrupt; one that decodes the same struct for the first
time meanwhile reads a half-made description and ends the whole process.  A decoder made once, by one thread, ends that.
"""

from __future__ import annotations

import msgspec


def ready() -> None:
    """Call it before a process starts its threads; twice does no harm."""
    waiting: list[type] = [msgspec.Struct]
    while waiting:
        for struct in list[type](waiting.pop().__subclasses__()):
            waiting.append(struct)
            if not getattr(struct, "__parameters__", ()):  # one of a generic's forms is described with that form
                msgspec.json.Decoder(struct)
