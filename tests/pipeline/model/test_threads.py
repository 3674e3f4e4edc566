"""Threads that decode their first events at the same moment: the library must know every dialect by then."""

import subprocess
import sys

ATTEMPTS = 12  # without the promise about every third one crashes
RACE = """
import sys, threading
from pipeline.model.dialects import decode_authentication, decode_connection
sys.setswitchinterval(1e-6)
values = [
    (decode_authentication, b'{"time":"2026-03-27T10:00:00Z","action":{"type":"reauth","user":{"id":"1"}},"odd":[1]}'),
    (decode_connection, b'{"status":"closed_connection","time":"2026-03-27T10:00:00Z","user":{"id":"1"}}'),
    (decode_connection, b'{"start_time":"2026-03-27 10:00:00 UTC","end_time":"","status":"NORMAL","user":"x","user_id":""}'),
]
gate = threading.Barrier(16)
def first(n):
    gate.wait()
    for decode, value in values[n % 3 :] + values[: n % 3]:
        try:
            decode(value, 1800000000000)
        except Exception:
            pass
threads = [threading.Thread(target=first, args=(n,)) for n in range(16)]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def test_first_events_in_many_threads_crash_nothing():
    codes = [subprocess.run([sys.executable, "-c", RACE], check=False).returncode for _ in range(ATTEMPTS)]
    assert codes == [0] * ATTEMPTS
