"""Decoding and duplicates agree with the oracle, record by record, without any server."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.model.dialects import authentication_document, decode_authentications, decode_connections
from pipeline.model.events import Rejected
from pipeline.model.verdicts import Verdicts
from tests.oracle import Oracle, Record
from tests.streams import Stream

NOW = 1_775_000_000_000


class Source:
    def __init__(self, offset, line):
        self.offset, self.value, self.timestamp, self.headers = offset, line.value, NOW, line.headers


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_record_gets_the_oracles_verdict(seed):
    lines = list(Stream(seed, start_ms=NOW - 10 * 86_400_000).lines(20_000))
    for topic, decode in (("connections", decode_connections), ("authentications", decode_authentications)):
        verdicts, said, documents = Verdicts(decode), Counter(), []
        mine = [x for x in lines if x.topic == topic]
        for offset, line in enumerate(mine):
            oracle = Oracle()
            oracle.feed([Record(topic, 0, offset, NOW, line.value, dict(line.headers))])
            [event] = verdicts([Source(offset, line)])
            if isinstance(event, Rejected):
                got = f"rejected:{event.reason.value}"
            else:
                got = "duplicate" if event is None else "applied"
                if event is not None and topic == "authentications":
                    documents.append(authentication_document(line.value))
            alone = next(iter(oracle.ledger[topic, 0]))
            assert got == alone or (got, alone) == ("duplicate", "applied"), line.value
            said[got] += 1
        whole = Oracle()
        whole.feed([Record(topic, 0, i, NOW, x.value, dict(x.headers)) for i, x in enumerate(mine)])
        assert said == whole.ledger[topic, 0]
        if topic == "authentications":
            assert documents == [e["document"] for _, _, e in whole.events[topic]]
