"""A worker that kills itself the n-th time it passes a named step: `python -m tests.live.dying_worker DATA STEP N`.

With the step `slow-stop` it does not die; its producer takes half a second to close, as it does with a broker that answers late.
With `late-start` its first start of partitions is ready only after the group has taken them away again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer
from faust.types import TP

from pipeline import app, console, settings
from pipeline.engine import recovery, steps, table, transport


def main() -> None:
    data, wanted, left = Path(sys.argv[1]), sys.argv[2], [int(sys.argv[3])]

    def stand(step: steps.Step) -> None:
        if step.value == wanted:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    steps.observer = stand
    whole = table._batches
    # Small batches, so that a flush is many of them and can be half sent.
    table._batches = lambda producer, rows: [
        b for i in range(0, len(rows), 20) for b in whole(producer, rows[i : i + 20])
    ]
    if wanted == "slow-stop":
        close = AIOKafkaProducer.stop

        async def stop(producer: AIOKafkaProducer) -> None:
            await asyncio.sleep(0.5)
            await close(producer)

        AIOKafkaProducer.stop = stop
    if wanted == "late-start":
        revoked = asyncio.Event()
        hand_over, on_partitions_revoked = recovery.Recovery._hand_over, transport.Consumer.on_partitions_revoked

        async def late(self: recovery.Recovery, generation: int) -> None:
            await revoked.wait()
            await hand_over(self, generation)

        async def revoke(self: transport.Consumer, partitions: set[TP]) -> None:
            await on_partitions_revoked(self, partitions)
            if partitions:
                revoked.set()

        recovery.Recovery._hand_over, transport.Consumer.on_partitions_revoked = late, revoke
    app.main(settings.load(data))


if __name__ == "__main__":
    console.guarded(main)
