"""Who may import whom, one door per library, and documentation that is fresh."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [p for room in ("pipeline", "exporters", "deploy") for p in (ROOT / room).rglob("*.py")]
FOUNDATION = {"errors", "clock", "logs", "console", "settings", "topics", "metrics", "broker", "unpacking"}
DOORS = {
    "faust": ("pipeline/app.py", "pipeline/engine/", "pipeline/tables/", "pipeline/agents/"),
    "mode": ("pipeline/engine/",),
    # A measurement must cost less than what it measures.
    "aiokafka": ("pipeline/engine/", "pipeline/unpacking.py", "exporters/unpacking.py", "deploy/bench_latency.py"),
    "kafka": (
        "pipeline/broker.py",
        "pipeline/intake/records.py",
        "exporters/store/projector.py",
        "exporters/journal.py",
        "exporters/replays.py",
        "exporters/sync/kafka.py",
        "exporters/unpacking.py",
        "exporters/silence/listener.py",
        "exporters/access/audit.py",
        "exporters/service.py",
        "deploy/check.py",
    ),
    "boto3": ("exporters/sinks/", "exporters/sync/verify.py"),
    "botocore": ("exporters/sinks/",),
    "clickhouse_connect": ("exporters/store/store.py",),
    "redis": ("exporters/redis.py",),
    "fastapi": ("exporters/web/",),
    "itsdangerous": ("exporters/access/",),
    "jinja2": ("exporters/web/", "exporters/mail/"),
    "aiosmtplib": ("exporters/mail/smtp.py",),
    "aiosmtpd": ("deploy/local/catcher.py",),
    "authlib": ("exporters/access/provider.py",),
    "joserfc": ("exporters/access/provider.py",),
    "httpx": (
        "exporters/client.py",
        "exporters/silence/notices.py",
        "exporters/sync/notices.py",
        "deploy/bench_web.py",
        "exporters/access/provider.py",
    ),
    "time": ("pipeline/clock.py", "pipeline/engine/", "exporters/sync/verify.py"),
    "structlog": ("pipeline/logs.py",),
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library):
    users = [
        str(p.relative_to(ROOT))
        for p in MODULES
        if any(i == library or i.startswith(f"{library}.") for i in imports(p))
    ]
    assert [u for u in users if not u.startswith(DOORS[library])] == []


def test_rooms_import_only_what_they_may():
    wrong = []
    for path in MODULES:
        name = str(path.relative_to(ROOT))
        for i in imports(path):
            if name.startswith("pipeline/") and i.split(".")[0] in ("exporters", "deploy"):
                wrong.append((name, i))
            if (
                name.startswith("pipeline/model/")
                and i.startswith("pipeline.")
                and not i.startswith(("pipeline.model", "pipeline.topics"))
            ):
                wrong.append((name, i))
            allowed = {"model", *FOUNDATION, "cli"} if name.endswith("cli.py") else {"model", *FOUNDATION}
            if name.startswith("exporters/") and (
                i.split(".")[0] == "deploy" or (i.startswith("pipeline.") and i.split(".")[1] not in allowed)
            ):
                wrong.append((name, i))
    assert wrong == []


def test_the_environment_is_read_in_one_place():
    readers = [p.name for p in MODULES if "os.environ" in p.read_text() or "getenv" in p.read_text()]
    assert readers == ["settings.py"]


@pytest.mark.parametrize("name", ["reference", "api"])
def test_the_generated_documentation_is_fresh(name):
    made = subprocess.run(
        [sys.executable, f"docs/make_{name}.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert made.stdout == (ROOT / f"docs/{name}.md").read_text(), "run `make docs`"


def test_every_verb_has_help_with_an_example():
    from typer.main import get_command

    from deploy.cli import app

    def verbs(command, path=()):
        for name, sub in getattr(command, "commands", {}).items():
            if getattr(sub, "commands", None):
                yield from verbs(sub, (*path, name))
            else:
                yield " ".join((*path, name)), sub.help or ""

    found = dict(verbs(get_command(app)))
    assert [name for name, text in found.items() if "Example: activity" not in text] == []
    assert [name for name in found if f"activity {name}" not in found[name]] == []
