"""What the API promises, written where each route stands and completed here into one OpenAPI document.

`says(…)` gives a route its answers, its failures and an example that a test runs.  Schemas come from the very structs that are encoded, so
they cannot disagree.  Every failure has the one error shape; what may happen to any request (ANYWHERE) is added to all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.responses import Response
from starlette.routing import compile_path

JSON = "application/json"
TEMPLATE = "#/components/schemas/{name}"


class Fault(msgspec.Struct):
    """What went wrong: `code` for programs, from a bounded set; `message` for people: what happened, to what, what to do next."""

    code: str
    message: str


class Error(msgspec.Struct):
    """The one shape of every failure."""

    error: Fault


FAILURES = {
    400: ("bad_request", "Not a request of this service"),
    401: ("unauthorized", "Nobody: no token, or one that is unknown, revoked or expired"),
    403: ("forbidden", "Not allowed to this person or token"),
    404: ("not_found", "Not there, or not yours"),
    405: ("method_not_allowed", "Not with this method; `Allow` names those that are"),
    409: ("conflict", "Not in this state"),
    410: ("expired", "It was there, and its time is over"),
    413: ("too_large", "Too large"),
    416: ("bad_range", "No such part of the file"),
    422: ("bad_request", "Cannot be: the message names each field"),
    429: ("too_many", "Too many; ask again after `Retry-After` seconds"),
    500: ("bug", "A fault of ours; it is in the service's log"),
    503: ("unavailable", "Kafka or the store is away for now; ask again after `Retry-After` seconds"),
}
ANYWHERE = (401, 403, 405, 413, 429, 500, 503)
_structs: dict[str, Any] = {"Error": Error}  # by name, all that any route answers
_WAITING = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "How to sign in", "schema": {"type": "string"}}}


def says(
    answer: Any,
    *failures: int,
    example: str,
    status: int = 200,
    also: tuple[int, ...] = (),
    media: str | tuple[str, ...] = JSON,
    then: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Keywords of a route.

    `answer` is the struct that is encoded, a JSON schema, or None for an empty one; `failures` are those of this route; `example` is Python with
    `api` at hand; `then` says which routes take something out of the answer: {"GET /path/{name}": "the field it comes from"}.
    """
    kinds = (media,) if isinstance(media, str) else media
    good: dict[str, Any] = {} if answer is None else {"content": {kind: {"schema": _schema(answer)} for kind in kinds}}
    if then:
        good["links"] = dict(_link(route, field) for route, field in then.items())
    return {
        "status_code": status,
        "response_class": Response,
        "responses": dict.fromkeys((status, *also), good) | {code: _failure(code) for code in failures},
        "openapi_extra": {"x-codeSamples": [{"lang": "Python", "source": example.strip()}]},
    }


class Described(FastAPI):
    """The application, with the document completed."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi())
        return self.openapi_schema


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add what may happen to any request, who may call, and the schemas of the structs."""
    for path, _, operation in operations(document):
        answers = operation["responses"]
        if path.startswith("/api/"):
            operation["security"] = [{"token": []}]
            answers |= {str(code): _failure(code) for code in ANYWHERE if str(code) not in answers}
        if "requestBody" in operation:
            answers["400"] = _failure(400)
        if "422" in answers:  # the framework's own description of it does not hold here
            answers["422"] = _failure(422)
        operation["responses"] = dict(sorted(answers.items()))
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _, structs = msgspec.json.schema_components(_structs.values(), ref_template=TEMPLATE)
    schemas |= structs
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of `/settings/tokens`, shown once"}
    }
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of everything that can be called."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def allowed(app: FastAPI, path: str) -> list[str]:
    """What may be asked of a path; the framework itself only looks at its first route."""
    document = app.openapi()
    found = {m.upper() for template, m, _ in operations(document) if compile_path(template)[0].fullmatch(path)}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _failure(status: int) -> dict[str, Any]:
    code, text = FAILURES[status]
    headers = _WAITING if status in (429, 503) else _CHALLENGE if status == 401 else {}
    example = {"error": {"code": code, "message": text}}
    return {
        "description": text,
        "content": {JSON: {"schema": {"$ref": TEMPLATE.format(name="Error")}, "example": example}},
    } | ({"headers": headers} if headers else {})


def _link(route: str, field: str) -> tuple[str, dict[str, Any]]:
    method, _, path = route.partition(" ")
    [name] = re.findall(r"{(\w+)}", path)
    reference = f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method.lower()}"
    return f"{method} {path}", {"operationRef": reference, "parameters": {name: f"$response.body#/{field}"}}


def _schema(answer: Any) -> dict[str, Any]:
    if isinstance(answer, dict):
        return answer
    assert _structs.setdefault(answer.__name__, answer) is answer, f"two structs are called {answer.__name__}"
    return {"$ref": TEMPLATE.format(name=answer.__name__)}
