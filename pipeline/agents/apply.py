"""The agents: lists of records into tables.  Everything that can go wrong in here ends the process, for Faust acknowledges what an exception leaves."""

from __future__ import annotations

from typing import Any

from pipeline import logs
from pipeline.engine import fence
from pipeline.engine.flusher import Flusher
from pipeline.errors import EXIT_BUG, Halt

log = logs.logger("agents")


def define(app: Any, topic: Any, flusher: Flusher, *, name: str) -> Any:
    """One agent that feeds one rolling table."""

    async def apply(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                await flusher.apply(event)
            except BaseException:
                log.exception("an agent failed")
                fence.leave(Halt("an agent failed, see the trace above; a restart replays", exit_code=EXIT_BUG))

    return app.agent(topic, name=name)(apply)
