"""The way to a place is opened once for all who wait for it."""

import threading
from concurrent.futures import ThreadPoolExecutor

from exporters.sinks.target import DirectoryTarget
from exporters.sync.door import Door
from pipeline.errors import Unavailable
from tests.live.system import eventually

WAITING = 8


class Queue:
    """A lock that knows who came to it."""

    def __init__(self):
        self.came = []
        self._lock = threading.Lock()

    def __enter__(self):
        self.came.append(threading.current_thread())
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


def test_a_place_that_is_away_makes_nobody_wait_for_more_than_one_answer(tmp_path):
    asked = []

    def owner() -> str:
        asked.append(1)
        eventually(lambda: len(door._opening.came) == WAITING)
        raise Unavailable("Kafka is away")

    def knock(_number: int) -> str:
        try:
            return str(door.claim())
        except Unavailable as away:
            return str(away)

    door = Door(DirectoryTarget(path=tmp_path), owner)
    door._opening = Queue()
    with ThreadPoolExecutor(WAITING) as threads:
        said = set(threads.map(knock, range(WAITING)))
    assert (said, len(asked)) == ({"Kafka is away"}, 1)
