"""Both places for files keep the same promises; the bucket is a real one."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from exporters.reports.build import Parameters
from exporters.reports.files import DirectoryFiles, SunkFiles, open_files
from exporters.reports.runs import READY, Run
from exporters.sinks.memory import MemorySink
from exporters.sinks.opening import open_sink
from pipeline.errors import ConfigError, Refused
from pipeline.settings import Settings
from tests.exporters.sinks.conftest import seaweed  # noqa: F401 - a fixture


def a_run(attempt=1):
    return Run("r1", "active", READY, Parameters(), 1, 1, attempt=attempt)


def written(files, run, body):
    part = files.part(run)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(body)
    stored = files.store(run, part, sha256=hashlib.sha256(body).hexdigest())
    assert not part.exists()
    return msgspec.structs.replace(run, stored=stored)


@pytest.fixture(params=["directory", "memory"])
def files(request, tmp_path):
    settings = Settings(data=tmp_path)
    return DirectoryFiles(settings) if request.param == "directory" else SunkFiles(settings, MemorySink())


def test_two_attempts_never_meet_in_one_file(files):
    body = bytes(range(256)) * 5000
    first, second = written(files, a_run(1), b"of the first"), written(files, a_run(2), body)
    with files.open(second) as source:
        assert source.read() == body
    with files.open(first) as source:
        assert source.read(6) == b"of the"


def test_what_is_not_there_is_said_before_an_answer_begins(files):
    with pytest.raises(FileNotFoundError):
        files.open(msgspec.structs.replace(a_run(), stored="r1-9"))


def test_parts_of_any_attempt_are_deleted(files):
    for attempt in (1, 2):
        part = files.part(a_run(attempt))
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    files.remove(a_run(2))
    assert list(part.parent.iterdir()) == []


def test_a_directory_keeps_the_file_that_counts_and_no_other(tmp_path):
    files = DirectoryFiles(Settings(data=tmp_path))
    written(files, a_run(1), b"one")
    kept = written(files, a_run(2), b"two")
    files.remove(kept, keep=kept.stored)
    assert [p.name for p in (tmp_path / "reports").iterdir() if p.is_file()] == ["r1-2"]
    files.remove(kept)
    assert [p.name for p in (tmp_path / "reports").iterdir() if p.is_file()] == []


def test_something_else_under_the_name_is_refused(tmp_path):
    files = SunkFiles(Settings(data=tmp_path), MemorySink())
    written(files, a_run(), b"one")
    with pytest.raises(Refused, match="choose an empty prefix"):
        written(files, a_run(), b"another")


@pytest.mark.live
@pytest.mark.xdist_group("s3")
def test_a_bucket(tmp_path, seaweed):  # noqa: F811
    target = seaweed.target(prefix="files")
    settings = Settings(data=tmp_path, report_target=target.model_dump_json())
    files = open_files(settings)
    assert isinstance(files, SunkFiles)
    body = bytes(range(256)) * 50_000
    run = written(files, a_run(), body)
    with files.open(run) as source:
        assert source.read() == body
    assert [o.key for o in open_sink(target).objects("reports/")] == ["reports/r1-1"]


def test_a_wrong_target_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"ACTIVITY_REPORT_TARGET: s3.bucket"):
        open_files(Settings(data=tmp_path, report_target='{"kind": "s3"}'))
