"""The reports service's own socket."""

from __future__ import annotations

import socket

from exporters import app
from pipeline.settings import Settings


def test_an_answer_in_two_pieces_does_not_wait_for_the_readers_kernel(tmp_path):
    settings = Settings(data=tmp_path, reports_port=0)
    with app._listen(settings) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
