"""The service's description in OpenAPI 3.1, made of its table of routes and the schemas of what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

from pydantic import TypeAdapter

from flowmusic import __version__
from flowmusic.api.request import REQUEST_FIELDS, Request
from flowmusic.studio.asking import Ask
from flowmusic.studio.session import FREE_FIELDS, MAX_STRENGTH
from flowmusic.studio.takes import Take
from flowmusic.studio.uploads import Upload

_REFERENCE = "#/components/schemas/{model}"


class Row(Protocol):
    """What is said of a route."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def handler(self) -> str: ...
    @property
    def query(self) -> tuple[str, ...]: ...
    @property
    def body(self) -> str | None: ...
    @property
    def gives(self) -> str: ...


def openapi(rows: Iterable[Row]) -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "flowmusic studio", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(row: Row) -> dict[str, Any]:
    named = [(name, "path", True) for name in re.findall(r"{(\w+)}", row.path)]
    named += [(name, "query", False) for name in row.query]
    error = {
        "description": "One sentence of what is wrong",
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}},
    }
    operation: dict[str, Any] = {
        "summary": row.summary,
        "operationId": row.handler,
        "responses": {"200": {"description": "Done", "content": _content(row.gives)}, "4XX": error},
    }
    if row.handler == "add_job":
        operation["responses"]["202"] = operation["responses"].pop("200")
    if named:
        operation["parameters"] = [
            {"name": name, "in": place, "required": required, "schema": {"type": "string"}}
            for name, place, required in named
        ]
    if row.body is not None:
        kind = "application/octet-stream" if row.body == "bytes" else row.body
        operation["requestBody"] = {"required": True, "content": _content(kind)}
    return operation


def _content(kind: str) -> dict[str, Any]:
    if "/" in kind:
        return {kind: {}}
    schema = {"type": "object"} if kind == "object" else {"$ref": _REFERENCE.format(model=kind)}
    return {"application/json": {"schema": schema if kind != "object" else {}}}


def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    kinds: dict[str, Any] = {"Ask": Ask, "Take": Take, "Upload": Upload}
    for name, kind in kinds.items():
        schema = TypeAdapter(kind).json_schema(ref_template=_REFERENCE)
        found |= schema.pop("$defs", {})
        found[name] = schema
    request = Request.model_json_schema(ref_template=_REFERENCE)
    found |= request.pop("$defs", {})
    found["Request"] = request
    fields = request["properties"]
    number, text = {"type": "number"}, {"type": "string"}

    def thing(**properties: Any) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def array(item: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": item}

    whole = {"type": "integer"}
    lanes = thing(
        chords=array(thing(start=number, end=number, label=text)),
        melody=array(thing(start=number, end=number, midi=whole, velocity=whole)),
        drums=array(thing(time=number, midi=whole, velocity=whole)),
    )
    use = thing(
        mute={"type": "boolean"},
        span={"anyOf": [array(number), {"type": "null"}]},
        strength={"type": ["number", "null"], "minimum": 0, "maximum": MAX_STRENGTH},
        source={"type": ["string", "null"]},
        origin={"type": ["string", "null"]},
    )
    changes = {
        "name": text,
        **{name: fields[name] for name in ("duration", "bpm", "beats_per_bar")},
        "request": thing(**{name: fields[name] for name in FREE_FIELDS if name in REQUEST_FIELDS}),
        "lanes": lanes,
        "use": thing(chords=use, melody=use, drums=use),
        "selected": {"type": ["string", "null"]},
    }
    take, upload = ({"$ref": _REFERENCE.format(model=name)} for name in ("Take", "Upload"))
    states = ["waiting", "running", "done", "failed", "cancelled"]
    return found | {
        "Error": thing(error=text),
        "Id": thing(id=text),
        "Typed": thing(role=text, text=text),
        "TakePatch": thing(name=text, star={"type": "boolean"}),
        "SessionPatch": thing(**changes),
        "Session": thing(**changes, revision=whole, uploads=array(upload), takes=array(take)),
        "Job": thing(
            id=text, kind=text, state={"enum": states}, stage=text, share=number,
            error={"type": ["string", "null"]}, takes=array(text),
        ),
    }  # fmt: skip
