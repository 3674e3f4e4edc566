"""Print the reference: everything in it comes from the tables in the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from deploy.cli import app
from exporters.reports.build import KINDS
from exporters.reports.columns import ACTIVE, INACTIVE
from exporters.snapshots import shelf
from exporters.sync import desk
from exporters.sync.destinations import Destination
from pipeline.metrics import CATALOGUE
from pipeline.model import wire
from pipeline.model.events import Reason
from pipeline.model.rollups import AuthenticationRollup, ConnectionRollup, measures
from pipeline.settings import PREFIX, Settings
from pipeline.topics import TOPICS


def table(*head: str, rows) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in rows])


def verbs(command, path=("activity",)) -> Iterator[tuple[str, Any]]:
    for name, sub in command.commands.items():
        yield from verbs(sub, (*path, name)) if hasattr(sub, "commands") else [(" ".join((*path, name)), sub)]


def default(option) -> str:
    if option.required:
        return "required"
    return "" if option.default in (None, False, "") else f"`{option.default}`"


def verb(name: str, command) -> str:
    named = [p for p in command.params if p.param_type_name == "option"]
    given = " ".join(f"{p.name.upper()}{'…' if p.nargs == -1 else ''}" for p in command.params if p not in named)
    meaning, _, example = command.help.partition("Example: ")
    text = f"### `{f'{name} {given}'.strip()}`\n\n{' '.join(meaning.split())}\n\n```\n{example.splitlines()[0]}\n```"
    more = " ".join(example.split("\n", 1)[1].split()) if "\n" in example else ""
    rows = [(", ".join(f"`{o}`" for o in p.opts), default(p), p.help) for p in named]
    return "\n\n".join(filter(None, [text, more, table("option", "default", "meaning", rows=rows) if rows else ""]))


def reference() -> str:
    fields = Settings.model_fields.items()
    topics = [
        (t.name(prefix="activity", app="activity"), t.key, ", ".join(f"{k}={v}" for k, v in t.config.items()), t.help)
        for t in TOPICS
    ]
    parts = [
        "# Reference\n\nGenerated from the code by `make docs`.",
        "## Verbs\n\nExit codes: 0 fine, 1 the request cannot be, 2 configuration, 70 a bug.",
        *(verb(name, command) for name, command in verbs(get_command(app))),
        "## Settings\n\n"
        + table(
            "variable",
            "default",
            "meaning",
            rows=[(f"`{PREFIX}{n.upper()}`", f"`{f.default}`", f.description) for n, f in fields],
        ),
        "## Destinations\n\nWhere `activity sync` delivers; [sync.md](sync.md) shows how to set one up.\n\n"
        + table(
            "setting",
            "default",
            "meaning",
            rows=[
                (f"`{n}`", "required" if f.is_required() else f"`{f.default}`", f.description)
                for n, f in Destination.model_fields.items()
            ],
        ),
        "## Reports\n\n" + table("kind", "question", rows=KINDS.items()),
        "### Columns of Active Users\n\n" + table("column", "meaning", rows=[(f"`{c.name}`", c.help) for c in ACTIVE]),
        "### Columns of Inactive Users\n\n"
        + table("column", "meaning", rows=[(f"`{c.name}`", c.help) for c in INACTIVE]),
        "## Snapshots in Redis\n\n" + "```\n" + (shelf.__doc__ or "").strip() + "\n```",
        "## Reject reasons\n\n" + table("reason", "meaning", rows=[(f"`{r.value}`", r.help) for r in Reason]),
        "## Topics\n\n" + table("topic", "key", "settings", "content", rows=topics),
        "## Keys of the sync's topic\n\n" + (desk.__doc__ or "").split("\n\n", 2)[2].strip(),
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
