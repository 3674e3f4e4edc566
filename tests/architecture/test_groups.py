"""Tests that share servers run in one worker; a library that forgets it would start the servers several times."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("together")
def test_a_group_stays_together(request):
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("only `make test` runs groups of tests beside each other")
    assert request.node.nodeid.endswith("@together")
