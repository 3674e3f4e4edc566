"""The Active Users report by adding up rows one after the other, as nothing that is fast would do it."""

from __future__ import annotations

from collections import Counter

from exporters.reports.columns import Active

SUMS = ("success", "failed_dns", "failed_other", "bytes_transferred", "bytes_received", "relay", "p2p")


def person(row, accounts):
    """As the reports call who a row is about; `accounts` are {id: e-mail}."""
    return accounts.get(row.get("id")) or row.get("email") or row["id"]


def active(rows, accounts, window, devices):
    """The report of rows (only what is not empty need stand in them) over [from, to) in seconds, with the devices used in another window."""
    found = {}
    for row in rows:
        one = found.setdefault(person(row, accounts), {"last": 0, "sums": Counter(), "counts": Counter(), "devices": set()})  # fmt: skip
        if devices[0] <= row["bucket"] < devices[1]:
            one["devices"].update(row["devices"])
        if window[0] <= row["bucket"] < window[1]:
            one["last"] = max(one["last"], row["last_access"])
            one["sums"].update({name: row.get(name, 0) for name in SUMS})
            one["counts"].update(dict(row["client_ips"]))
    return [
        Active(
            name, p["last"], *(p["sums"][s] for s in SUMS), len(p["devices"]), len(p["counts"]),
            " ".join(sorted(p["counts"], key=lambda a, c=p["counts"]: (-c[a], a))[:10]),
        )
        for name, p in sorted(found.items())
        if p["last"] or any(p["sums"][s] for s in SUMS[:3])
    ]  # fmt: skip
