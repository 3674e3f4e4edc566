"""`activity ingest` that gets a signal when it has handed out so many lines: DATA FILE LINE SIGNAL."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline import console
from pipeline import settings as settings_module
from pipeline.intake import ingest as intake


def main() -> None:
    data, file, last, number = sys.argv[1:]
    account = intake.Account()
    send = intake._send

    def send_and_die(*arguments) -> None:
        send(*arguments)
        if account.read == int(last):
            os.kill(os.getpid(), int(number))

    intake._send = send_and_die
    with intake.stopping() as asked:
        intake.ingest(settings_module.load(Path(data)), [file], account, lambda: bool(asked), again=False)


console.guarded(main)
