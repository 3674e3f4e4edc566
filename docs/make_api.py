"""Print docs/api.md: the API as its own document describes it, with the examples that a test runs."""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from exporters.service import Service
from exporters.web import site
from exporters.web.contract import ANYWHERE, JSON, operations
from pipeline.settings import Settings

HEAD = """# API

Generated from the code by `make docs`. The same, for programs: `/api/v1/openapi.json`.

{about}

Every example below is run by a test, in this order, after these lines:

```python
import os
import httpx

api = httpx.Client(
    base_url=os.environ["ACTIVITY_REPORTS_URL"],
    headers={{"Authorization": f"Bearer {{os.environ['ACTIVITY_TOKEN']}}"}},
    event_hooks={{"response": [lambda answer: answer.raise_for_status()]}},
    timeout=60,
)
```

Any request may be answered with: {anywhere}.
"""


def document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as data:
        return site.make(Service(Settings(data=Path(data), kafka="127.0.0.1:1", redis="redis://127.0.0.1:1"))).openapi()


def page(made) -> str:
    first = next(o for path, _, o in operations(made) if path.startswith("/api/"))
    texts = {code: first["responses"][str(code)]["description"] for code in ANYWHERE}
    anywhere = "; ".join(f"{code} {text[0].lower()}{text[1:]}" for code, text in texts.items())
    parts = [HEAD.format(about=made["info"]["description"], anywhere=anywhere)]
    for room, routes in groupby(operations(made), key=lambda o: _room(o[0])):
        parts.append(f"## {room.capitalize()}\n")
        # What takes something away comes last: the examples run in this order.
        parts += [_route(made, *route) for route in sorted(routes, key=lambda o: o[1] == "delete")]
    asked = {o["requestBody"]["content"][JSON]["schema"]["$ref"] for _, _, o in operations(made) if "requestBody" in o}
    parts.append("## Shapes\n")
    for name, model in made["components"]["schemas"].items():
        if f"#/components/schemas/{name}" not in asked:
            rows = [(n, _kind(field), _default(field)) for n, field in model["properties"].items()]
            parts.append(
                f"### {name}\n\n{model.get('description', '')}\n\n| field | kind | if missing |\n|---|---|---|"
            )
            parts.append("\n".join(f"| `{n}` | {kind} | {default} |" for n, kind, default in rows) + "\n")
    return "\n".join(parts)


def _room(path: str) -> str:
    return path.split("/")[3] if path.startswith("/api/v1/") else "monitoring"


def _route(made, path, method, operation) -> str:
    lines = [f"### {method.upper()} {path}\n", operation.get("description", "") + "\n"]
    rows = [(p["name"], p["in"], _kind(p["schema"]), p.get("description", "")) for p in operation.get("parameters", [])]
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
    if "$ref" in body:
        model = made["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        lines.append(model.get("description", "") + "\n")
        required = model.get("required", [])
        rows += [
            (name, "body, required" if name in required else "body", _kind(field), field.get("description", ""))
            for name, field in model["properties"].items()
        ]
    if rows:
        lines += ["| name | in | kind | meaning |", "|---|---|---|---|"]
        lines += [f"| `{n}` | {where} | {kind} | {text} |" for n, where, kind, text in rows]
        lines.append("")
    good = {c: a for c, a in operation["responses"].items() if c < "400"}
    bad = [c for c in operation["responses"] if c >= "400" and int(c) not in ANYWHERE]
    answers = ", ".join(f"{c} {_content(a)}" for c, a in good.items())
    lines.append(f"Answers {answers}{'; fails with ' + ', '.join(bad) if bad else ''}.\n")
    lines += [f"```python\n{sample['source']}\n```\n" for sample in operation.get("x-codeSamples", [])]
    return "\n".join(lines)


def _content(answer) -> str:
    names = []
    for media, content in answer.get("content", {}).items():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        names.append(f"`{name or media}`")
    return " or ".join(names) or "with nothing"


def _kind(schema) -> str:
    if "enum" in schema or "const" in schema:
        return " / ".join(f"`{v}`" if v else "empty" for v in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(_kind(s) for s in schema["anyOf"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and schema.get("additionalProperties"):
        return f"object of {_kind(schema['additionalProperties'])}"
    limits = [f"{word} {schema[key]:g}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return " ".join([kind, *limits])


def _default(schema) -> str:
    return f"`{schema['default']}`" if "default" in schema else ""


if __name__ == "__main__":
    print(page(document()), end="")
