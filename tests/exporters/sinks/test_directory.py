"""The directory sink: whole or not at all, and what a file system can say no to."""

import errno
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporters.sinks.directory import DirectorySink, translated
from exporters.sinks.sink import Document, Outcome
from pipeline.errors import Refused, Unavailable


def document(key="a/one", body=b"one\n"):
    return Document(key, body, "text/plain", hashlib.sha256(body).hexdigest())


def test_a_kill_while_writing_leaves_no_object(tmp_path):
    dying = """
import hashlib, os, sys
from pathlib import Path
from exporters.sinks.directory import DirectorySink
from exporters.sinks.sink import Document
sink = DirectorySink(Path(sys.argv[1]))
os.link = lambda *_: os.kill(os.getpid(), 9)
sink.create(Document("a/one", b"half", "text/plain", hashlib.sha256(b"half").hexdigest()))
"""
    done = subprocess.run([sys.executable, "-c", dying, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    sink = DirectorySink(tmp_path)
    assert list(sink.objects()) == []
    assert len(list((tmp_path / ".parts").iterdir())) == 1
    assert sink.create(document()).outcome is Outcome.STORED
    assert b"".join(sink.read("a/one")) == b"one\n"


def test_what_a_death_left_is_removed_after_a_day(tmp_path):
    DirectorySink(tmp_path)
    for name, age in (("old", 25 * 3600), ("young", 3600)):
        (tmp_path / ".parts" / name).write_bytes(b"half")
        os.utime(tmp_path / ".parts" / name, (time.time() - age,) * 2)
    DirectorySink(tmp_path)
    assert [p.name for p in (tmp_path / ".parts").iterdir()] == ["young"]


def test_nobody_may_name_a_document_into_the_unfinished_ones(tmp_path):
    with pytest.raises(ValueError, match="not a key"):
        DirectorySink(tmp_path).create(document(".parts/one"))


def test_a_file_in_the_way_is_refused_with_what_to_do(tmp_path):
    sink = DirectorySink(tmp_path)
    sink.create(document("a"))
    with pytest.raises(Refused, match="choose another directory"):
        sink.create(document("a/one"))
    with pytest.raises(Refused, match="choose another directory"):
        DirectorySink(tmp_path / "a")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, Unavailable),
        (errno.EDQUOT, Unavailable),
        (errno.EIO, Unavailable),
        (errno.ESTALE, Unavailable),
        (errno.EMFILE, Unavailable),
        (errno.EACCES, Refused),
        (errno.EROFS, Refused),
        (errno.ENAMETOOLONG, Refused),
        (errno.EXDEV, Refused),
        (12345, Unavailable),
    ],
)
def test_every_failure_of_a_file_system_has_a_remedy(number, kind):
    problem = translated(OSError(number, "said so"), "/place")
    assert type(problem) is kind
    assert str(problem).startswith("/place: said so; ")


def test_a_root_that_was_taken_away_and_came_back_is_written_to_again(tmp_path):
    root = tmp_path / "disk"
    sink = DirectorySink(root)
    sink.create(document())
    shutil.rmtree(root)
    root.mkdir()
    assert sink.create(document()).outcome is Outcome.STORED
    assert b"".join(sink.read("a/one")) == b"one\n"


def test_what_lies_there_is_safe_on_the_disk_before_it_is_said_to_be_there(tmp_path, monkeypatch):
    """However the attempt that put it there ended."""
    sink, fsync, synced = DirectorySink(tmp_path), os.fsync, []

    def failing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    def noting(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    for _ in range(4):  # at each folder of the way, and once more
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(Unavailable):
            sink.create(document("a/b/one"))
    monkeypatch.setattr(os, "fsync", noting)
    assert sink.create(document("a/b/one")).outcome is Outcome.EXISTS
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
