"""Print the reference: everything in it comes from the tables in the code."""

from __future__ import annotations

from exporters.reports.build import KINDS
from exporters.reports.columns import ACTIVE, INACTIVE
from exporters.snapshots import shelf
from pipeline.metrics import CATALOGUE
from pipeline.model import wire
from pipeline.model.events import Reason
from pipeline.model.rollups import AuthenticationRollup, ConnectionRollup, measures
from pipeline.settings import PREFIX, Settings
from pipeline.topics import TOPICS


def table(*head: str, rows) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in rows])


def reference() -> str:
    fields = Settings.model_fields.items()
    topics = [
        (t.name(prefix="activity", app="activity"), t.key, ", ".join(f"{k}={v}" for k, v in t.config.items()), t.help)
        for t in TOPICS
    ]
    parts = [
        "# Reference\n\nGenerated from the code by `make docs`.",
        "## Settings\n\n"
        + table(
            "variable",
            "default",
            "meaning",
            rows=[(f"`{PREFIX}{n.upper()}`", f"`{f.default}`", f.description) for n, f in fields],
        ),
        "## Reports\n\n" + table("kind", "question", rows=KINDS.items()),
        "### Columns of Active Users\n\n" + table("column", "meaning", rows=[(f"`{c.name}`", c.help) for c in ACTIVE]),
        "### Columns of Inactive Users\n\n"
        + table("column", "meaning", rows=[(f"`{c.name}`", c.help) for c in INACTIVE]),
        "## Snapshots in Redis\n\n" + "```\n" + (shelf.__doc__ or "").strip() + "\n```",
        "## Reject reasons\n\n" + table("reason", "meaning", rows=[(f"`{r.value}`", r.help) for r in Reason]),
        "## Topics\n\n" + table("topic", "key", "settings", "content", rows=topics),
        "## Changelogs\n\n```\n" + (wire.__doc__ or "").strip() + "\n```",
        *(
            f"### Rollup of {name}\n\n"
            + table(
                "measure",
                "merged by",
                "meaning",
                rows=[(f"`{n}`", kind, text) for n, (kind, text) in measures(rollup).items()],
            )
            for name, rollup in (("connections", ConnectionRollup), ("sign-ins", AuthenticationRollup))
        ),
        "## Metrics\n\n"
        + table(
            "metric",
            "form",
            "labels",
            "meaning",
            rows=[(f"`{m.name}`", m.form, ", ".join(m.labels), m.help) for m in CATALOGUE],
        ),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
