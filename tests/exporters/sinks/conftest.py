"""Real S3 servers for the tests of this room, each started when the first test asks for it."""

import pytest

from tests import s3


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    with s3.seaweed(tmp_path_factory.mktemp("s3") / "seaweed") as server:
        yield server


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory):
    with s3.versitygw(tmp_path_factory.mktemp("s3") / "versitygw", s3.versitygw_binary()) as server:
        yield server
