"""A process that has everything imported and forks a delivery in a moment: `python -m tests.faults.zygote`, orders on standard input.

Each order is a line of JSON and makes a child that delivers to one destination, may kill itself at a named step, and is a process like any
other: to be killed, frozen and ended by signals.  Answers: {"order", "pid"} when it runs, {"order", "code"} when it has ended.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import selectors
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from exporters.sinks import multipart
from exporters.sinks.clients import Timing
from exporters.sinks.opening import open_sink
from exporters.sync import lane, steps
from exporters.sync.app import Ending
from exporters.sync.destinations import parse
from exporters.sync.pump import Pump
from pipeline import settings as settings_module
from pipeline.metrics import Metrics
from tests.faults.sts import EXTERNAL_ID, ROLE

NEVER = 1 << 30


def _deliver(order: dict[str, Any]) -> None:
    """In the child: deliver until a signal, or until the step at which this one dies."""
    ending = Ending()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending)
    left, lock = [order["passes"] if order["step"] else NEVER], threading.Lock()

    def stand(step: steps.Step) -> None:
        if step.value == order["step"]:
            with lock:
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    steps.observer = stand
    # Patience is measured in minutes where customers live; here every second of it is somebody's test run.
    lane.RETRY_SECONDS, lane.REFUSED_SECONDS = (0.05, 0.3), 0.2
    multipart.PART_BYTES = order["part_bytes"]
    if order["group"]:  # an owner who knows nothing of the others: all partitions are his
        name = Pump.group.fget
        Pump.group = property(lambda self: name(self) + order["group"])
    settings = settings_module.load(Path(order["data"]), session_timeout_seconds=order["session_seconds"])
    destination = parse(order["name"], order["destination"])
    sink = open_sink(destination.target, timing=Timing(connect_seconds=2, read_seconds=1.5, attempts=1))
    pump = Pump(settings, order["name"], destination, sink, Metrics(), memory_bytes=32 << 20)

    pump.start()
    while not ending.wait(0.1) and pump.problem is None:
        pass
    pump.stop()
    pump.join(60)
    if pump.problem is not None:
        raise pump.problem


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with Path(order["log"]).open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        faulthandler.enable()
        os.close(0)
        signal.set_wakeup_fd(-1)
        _deliver(order)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError("unreachable")


def _warm() -> None:
    """What every child would read from the disk for itself: the library's descriptions of the services."""
    keys = {"kind": "keys", "environment": "ACTIVITY_WARM"}
    os.environ |= {"ACTIVITY_WARM_KEY_ID": "none", "ACTIVITY_WARM_SECRET": "none"}
    role = {"kind": "role", "role_arn": ROLE, "external_id": EXTERNAL_ID, "source": keys}
    target = {"kind": "s3", "bucket": "none", "endpoint": "http://127.0.0.1:9", "credentials": role}
    open_sink(parse("warm", {"target": target}).target).close()


def main() -> None:
    _warm()
    gc.freeze()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    chosen = selectors.DefaultSelector()
    chosen.register(0, selectors.EVENT_READ)
    chosen.register(reading, selectors.EVENT_READ)
    running: dict[int, int] = {}
    rest = b""
    while True:
        for key, _ in chosen.select():
            if key.fd == reading:
                os.read(reading, 4096)
            elif piece := os.read(0, 1 << 16):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    order = json.loads(line)
                    pid = _fork(order)
                    running[pid] = order["order"]
                    _say({"order": order["order"], "pid": pid})
            else:  # whoever gave orders is gone
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _say({"order": running.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _say(answer: dict[str, int]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
