"""A worker whose session may have expired does not write.  That makes zombies rare; the epochs make them harmless.

Checked twice: before a flush is encoded, and again right before its bytes reach the socket.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, NoReturn

from aiokafka.consumer.group_coordinator import GroupCoordinator

from pipeline.errors import Halt

# Of the session time-out.  The rest is for the write already under way.
SHARE = 0.7
EXIT_SESSION = 72


def install() -> None:
    """Once per process: note when a heartbeat was sent that the coordinator answered."""
    if hasattr(GroupCoordinator, "_answered_at"):
        return
    heartbeat, ensure = GroupCoordinator._do_heartbeat, GroupCoordinator.ensure_active_group

    async def noted_heartbeat(self: Any, *args: Any, **kwargs: Any) -> Any:
        sent = time.monotonic()
        answered = await heartbeat(self, *args, **kwargs)
        if answered:
            self._answered_at = sent
        return answered

    async def noted_join(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.generation
        result = await ensure(self, *args, **kwargs)
        if (
            result is not None and self.generation > 0 and self.generation != before
        ):  # a failed join must not refresh the time
            self._answered_at = time.monotonic()
        return result

    GroupCoordinator._answered_at = None
    GroupCoordinator._do_heartbeat = noted_heartbeat
    GroupCoordinator.ensure_active_group = noted_join


def check(app: Any) -> None:
    """Raise Halt if the group may have given our partitions away."""
    client = getattr(app.consumer._thread, "_consumer", None)
    answered = getattr(getattr(client, "_coordinator", None), "_answered_at", None)
    if answered is not None and time.monotonic() - answered > SHARE * app.conf.broker_session_timeout:
        raise Halt(
            "the group session may have expired while this worker slept; it ends so that a restart replays",
            exit_code=EXIT_SESSION,
        )


def leave(halt: Halt) -> NoReturn:
    """End the process here and now: no destructor, no acknowledgement, no commit may follow."""
    sys.stderr.write(f"activity: {halt}\n")
    sys.stderr.flush()
    os._exit(halt.exit_code)


def guard(app: Any, producer: Any) -> None:
    """Make the producer check right before the bytes of a produce request leave."""
    client = producer.client
    if getattr(client, "_guarded", False):
        return
    send = client.send

    async def guarded_send(node_id: Any, request: Any, **kwargs: Any) -> Any:
        if type(request).__name__.startswith("Produce"):
            try:
                check(app)
            except Halt as halt:
                leave(halt)
        return await send(node_id, request, **kwargs)

    client.send, client._guarded = guarded_send, True
