"""A worker that kills itself the n-th time it passes a named step: `python -m tests.live.dying_worker DATA STEP N`.

With the step `slow-stop` it does not die; its producer takes half a second to close, as it does with a broker that answers late.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer

from pipeline import app, console, settings
from pipeline.engine import steps, table


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
    app.main(settings.load(data))


if __name__ == "__main__":
    console.guarded(main)
