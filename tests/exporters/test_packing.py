"""The same content is the same bytes: nothing of the process that packs shows in them."""

from __future__ import annotations

import gzip
import io
import random

import pytest
import zstandard

from exporters.packing import gzip_file, pack


def through_a_file(content: bytes) -> bytes:
    out = io.BytesIO()
    with gzip_file(out, "events.csv") as file:
        file.write(content)
    return out.getvalue()


WAYS = {
    "gzip": lambda content: pack(bytearray(content), "gzip"),
    "zstd": lambda content: pack(bytearray(content), "zstd"),
    "file": through_a_file,
}


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_do_not_show_where_in_memory_they_were_packed(way):
    """A compressor whose tables know its address shows it in one document of thousands: where what it began with comes again."""
    rng = random.Random(7)
    texts = []
    for _ in range(500):
        head = rng.choices(range(33, 126), k=12)
        texts.append(bytes([*head, *rng.choices(range(33, 126), k=180), *head, *rng.choices(range(33, 126), k=400)]))
    first = [WAYS[way](text) for text in texts]
    taken = []
    for _ in range(200):
        taken.append(bytearray(rng.randrange(60_000, 120_000)))  # what was free before is so no longer
        assert [WAYS[way](text) for text in texts] == first


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, 200_000])
def test_what_was_packed_is_one_member_or_frame_with_everything(size):
    content = bytes(random.Random(3).choices(b"abcdefgh\n", k=size))
    assert gzip.decompress(pack(bytearray(content), "gzip")) == content
    assert zstandard.ZstdDecompressor().decompress(pack(bytearray(content), "zstd")) == content
    assert pack(bytearray(content), "none") == content
