"""What running tests in several processes beside each other needs: the same names in each, and groups that stay together."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def test_a_test_has_the_same_name_in_every_process(request):
    """A name made of the clock, of chance or of the order of a set would end a run before its first test."""
    known = {f"{item.parent.nodeid}::{item.name}" for item in request.session.items}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
    ]
    files = sorted({str(item.path) for item in request.session.items})
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, check=True, env=elsewhere, cwd=request.config.rootpath
    )
    assert known - set(done.stdout.splitlines()) == set()


@pytest.mark.xdist_group("together")
def test_a_group_stays_together(request):
    """A library that forgets it would start the servers that they share several times."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("only `make test` runs groups of tests beside each other")
    assert request.node.nodeid.endswith("@together")
