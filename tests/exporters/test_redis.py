"""The door to Redis, on a real server and on none."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest

from deploy.local.processes import free_port
from deploy.local.stack import _redis_command
from exporters import redis
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import Settings
from tests.live.system import eventually

pytestmark = [pytest.mark.live]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home, port = tmp_path_factory.mktemp("redis"), free_port()
    process = subprocess.Popen(_redis_command(home, port), stdout=subprocess.DEVNULL)
    settings = Settings(redis=f"redis://127.0.0.1:{port}/0")

    def answers():
        try:
            with redis.answering():
                return redis.connect(settings).ping()
        except Unavailable:
            return False

    eventually(answers)
    yield settings
    process.terminate()
    process.wait(10)


def test_a_group_reads_a_dictionary_of_text(server):
    client = redis.connect(server)
    stream = redis.key(server, "test", "stream")
    client.xgroup_create(stream, "g", id="0", mkstream=True)
    entry = client.xadd(stream, {"run": "ä"})
    assert client.xreadgroup("g", "me", {stream: ">"}) == {stream: [[(entry, {"run": "ä"})]]}


def test_a_server_that_was_emptied_is_told_from_one_that_is_away(server):
    client = redis.connect(server)
    with pytest.raises(Exception, match="NOGROUP") as caught:
        client.xreadgroup("g", "me", {redis.key(server, "nothing"): ">"})
    assert redis.forgotten(caught.value)
    assert not redis.forgotten(ConnectionError())


def test_a_command_whose_answer_is_lost_is_said_and_not_repeated():
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                taken.append(connection.recv(4096))
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        client = redis.connect(Settings(redis=f"redis://127.0.0.1:{listener.getsockname()[1]}/0"))
        with pytest.raises(Unavailable, match="Redis does not answer"), redis.answering():
            client.incr("x")
        listener.shutdown(socket.SHUT_RDWR)
    assert len(taken) == 1


def test_a_wrong_address_is_a_wrong_setting():
    with pytest.raises(ConfigError, match="ACTIVITY_REDIS"):
        redis.connect(Settings(redis="nonsense"))
