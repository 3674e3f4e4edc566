"""The S3 server of one machine is used when it gives back what lies there, not when it begins to answer."""

from contextlib import contextmanager

import pytest

from deploy.local import s3
from deploy.local.processes import Child, free_ports
from exporters.sinks import clients
from pipeline.errors import Refused, Unavailable
from tests.live.system import eventually
from tests.s3 import Server


@contextmanager
def running(home, ports):
    child = Child("s3", s3.command(home, ports), home / "log")
    child.start()
    try:
        yield
    finally:
        child.stop(10)


def answers(target):
    try:
        clients.make_bucket(target)
    except (Unavailable, Refused):
        return False
    return True


@pytest.mark.live
def test_a_server_whose_volumes_are_not_there_answers_and_is_not_ready(tmp_path):
    ports = free_ports(dict.fromkeys(s3.PORTS, 0))
    target = Server("seaweed", f"http://127.0.0.1:{ports['s3.port']}", tmp_path / s3.KEYS).target(bucket="mine")
    with running(tmp_path, ports):
        eventually(lambda: s3.stores(target))
    away = tmp_path / "away"
    away.mkdir()
    volumes = [file for ending in ("dat", "idx") for file in (tmp_path / "data").rglob(f"*.{ending}")]
    assert volumes
    for file in volumes:
        file.rename(away / file.name)
    with running(tmp_path, ports):
        eventually(lambda: answers(target))
        assert not s3.stores(target)
    for file in volumes:
        (away / file.name).rename(file)
    with running(tmp_path, ports):
        eventually(lambda: s3.stores(target))
