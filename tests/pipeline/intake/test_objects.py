"""Which objects of a place are events."""

from __future__ import annotations

from exporters.sinks.directory import DirectorySink
from exporters.sync.batches import Place
from pipeline.intake import ingest, objects
from tests.exporters.sync.test_verify import Writer, sign_in


def taken(path) -> tuple[int, int]:
    """Lines read, and events among them."""
    account = ingest.Account()
    objects.dry_run([DirectorySink(path)], account, lambda: False)
    return account.read, sum(account.as_dict()["sent"].values())


def test_of_what_our_own_sync_delivered_the_events_are_taken_in_and_nothing_else(tmp_path):
    for folder in ("", "backfill/20260301T0000_20260302T000030/"):
        for root in (tmp_path, tmp_path / "prefix"):
            writer = Writer(root, Place("authentication", "1a2b3c4d", 3, folder))
            writer.deliver([*map(sign_in, range(3)), b"rubbish"])
            writer.account()
    assert taken(tmp_path) == (6, 6)
    assert taken(tmp_path / "prefix") == taken(tmp_path / "prefix" / folder) == (3, 3)


def test_anothers_folders_may_be_called_as_ours(tmp_path):
    for name in ("errors/a.json", "manifests/authentication/b.json", "backfill/c.json", "authentication/d.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(sign_in(1) + b"\n")
    assert taken(tmp_path) == (4, 4)
