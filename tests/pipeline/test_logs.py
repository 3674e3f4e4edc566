import json
import logging
import subprocess
import sys

import pytest

from pipeline.logs import Seldom

SPEAK = """
import sys
from pipeline import logs
log = logs.logger("room")  # as modules do, before anything is configured
logs.configure(level="warning", json_lines=sys.argv[1] == "json")
def meet(email):
    try:
        {}[1]
    except KeyError:
        log.exception("failed", partition=3)
log.info("too quiet to be said")
meet("jane@example.com")
"""


@pytest.mark.parametrize("form", ["json", "plain"])
def test_a_logger_made_at_import_heeds_the_settings_and_shows_no_values_of_a_failed_call(form):
    done = subprocess.run([sys.executable, "-c", SPEAK, form], capture_output=True, text=True, check=True)
    assert "too quiet" not in done.stderr
    assert "KeyError: 1" in done.stderr
    assert "jane" not in done.stderr
    if form == "json":
        said = json.loads(done.stderr)
        assert (said["event"], said["room"], said["partition"], said["level"]) == ("failed", "room", 3, "error")
        assert "KeyError: 1" in said["exception"]


def test_a_vendor_that_repeats_itself_is_heard_once_a_minute():
    seldom = Seldom()

    def heard(line, at):
        record = logging.makeLogRecord(
            {"name": "aiokafka", "msg": "Topic %s not found", "args": (line,), "created": at}
        )
        return seldom.filter(record)

    assert [heard("a", 1000 + n / 400) for n in range(400)] == [True] + [False] * 399
    assert heard("b", 1001)
    assert not heard("a", 1059)
    assert heard("a", 1061)
