"""Our own page of openapi.json (the framework's pages load scripts from other hosts)."""

from __future__ import annotations

import json
from typing import Any

from litestar import Request, Response, get

from regulars.serve.pages.render import page


def _examples(media: dict[str, Any]) -> list[str]:
    """The examples of a body: of the answer, or (as JSON Schema has them) of the schema of a request."""
    named = [example["value"] for example in (media.get("examples") or {}).values() if "value" in example]
    values = named or media.get("schema", {}).get("examples", [])
    return [json.dumps(value, indent=2, ensure_ascii=False) for value in values]


def _contents(body: dict[str, Any]) -> dict[str, Any]:
    return next(iter((body.get("content") or {}).values()), {})


def operations(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What the page shows of every route, by tag."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, spec in methods.items():
            if "operationId" not in spec:
                continue
            groups.setdefault(spec["tags"][0], []).append({
                "id": spec["operationId"], "method": method.upper(), "path": path, "summary": spec.get("summary", ""),
                "description": spec.get("description", ""), "closed": bool(spec.get("security")),
                "parameters": spec.get("parameters", []),
                "examples": _examples(_contents(spec.get("requestBody", {}))),
                "responses": [
                    {"status": status, "description": answer["description"], "examples": _examples(_contents(answer))}
                    for status, answer in spec["responses"].items()
                ],
            })  # fmt: skip
    return groups


@get("/docs", sync_to_thread=False, include_in_schema=False)
def docs(request: Request[Any, Any, Any]) -> Response[str]:
    """Show the API."""
    schema = request.app.openapi_schema.to_schema()
    return page("docs.html", groups=operations(schema), version=schema["info"]["version"])


ROUTES: list[Any] = [docs]
