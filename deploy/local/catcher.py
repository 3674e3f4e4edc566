"""A mail server for one machine that sends nothing on: every mail becomes a file, safe on the disk before the sender is told.

`python -m deploy.local.catcher DIRECTORY PORT`
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from pipeline import clock

MOST_BYTES = 10 << 20


class Catcher:
    """Files named by the instant they came at, so that their names are in order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        name = f"{clock.now_ms():013d}-{uuid.uuid4().hex[:12]}.eml"
        part = self._directory / f".{name}"
        to = ", ".join(envelope.rcpt_tos).encode("ascii", "replace")
        with part.open("wb") as out:
            out.write(b"X-Caught-For: " + to + b"\r\n" + envelope.original_content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self._directory / name)
        return "250 caught"


async def _serve(directory: Path, port: int) -> None:
    catcher = Catcher(directory)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(catcher, loop=loop, hostname="localhost", data_size_limit=MOST_BYTES), "127.0.0.1", port
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
