"""Tests that share servers run in one worker; a library that forgets it would start the servers several times."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("together")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one worker alone")
def test_a_group_stays_together(request):
    assert request.node.nodeid.endswith("@together")
