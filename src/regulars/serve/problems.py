"""Errors as problem JSON (RFC 9457), with where, got, wanted and what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from regulars.core.errors import InputError, ModelError, RegularsError, StorageError
from regulars.serve.checks import LONGEST, complaint

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, for programs and people."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str = ""
    where: str = ""
    got: str = ""
    wanted: str = ""
    remedy: str = ""


class NotFound(RegularsError):
    """A thing this shop does not have."""


def status_of(error: RegularsError) -> int:
    """The HTTP status of one of our own errors."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, InputError):
        return 400
    return 503 if isinstance(error, (StorageError, ModelError)) else 500


def problem(status: int, headers: dict[str, str] | None = None, **parts: str) -> Response[Problem]:
    """Answer with a problem."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, **parts)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def on_own(request: Request[Any, Any, Any], error: RegularsError) -> Response[Problem]:
    """Answer one of our own errors."""
    status = status_of(error)
    if status >= 500:
        log.error("request failed: %s", error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return problem(status, headers, detail=str(error), where=error.where, got=error.got, wanted=error.wanted,
                   remedy=error.remedy)  # fmt: skip


def on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Answer an error that the HTTP layer found."""
    if error.status_code == 500:
        return on_any(request, error)
    parts = {
        "where": f"{request.method} {request.url.path}", **_usual(request, error), **_first_fault(request, error),
        **(error.extra if isinstance(error.extra, dict) else {}),
    }  # fmt: skip
    return problem(error.status_code, dict(error.headers or {}), detail=error.detail, **parts)


def on_any(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer a fault of ours: the log tells what, the answer does not."""
    log.error("request failed", exc_info=error)
    return problem(500, detail="The server failed; its log says why.", remedy="Try again, then look into the log.")


def _usual(request: Request[Any, Any, Any], error: HTTPException) -> dict[str, str]:
    """What was got, wanted and helps, as far as the status tells."""
    match error.status_code:
        case 401:
            parts = ("no valid key", "the header `Authorization: Bearer KEY`", "`regulars init` printed both keys.")
        case 403:
            parts = ("the browser key", "the admin key", "Ask from the shop's server, never from a page.")
        case 404:
            parts = ("an unknown path", "a path that /docs lists", "Correct the path.")
        case 405:
            allowed = (error.headers or {}).get("allow", "another method")
            parts = (request.method, allowed, "Use a method that this path has.")
        case 413:
            limit = f"at most {request.route_handler.resolve_request_max_body_size()} bytes"
            parts = ("a larger body", limit, "Send less at a time, or raise [serve] max_body_bytes.")
        case _:
            parts = (error.detail, "a request as /docs describes it", "Correct the request.")
    return dict(zip(("got", "wanted", "remedy"), parts, strict=True))


def _first_fault(request: Request[Any, Any, Any], error: HTTPException) -> dict[str, str]:
    """Where and what a validation error complains of first, and what was wanted there."""
    faults = error.extra if isinstance(error.extra, list) else []
    if not faults or not isinstance(faults[0], dict):
        return {}
    source, key = faults[0].get("source"), str(faults[0].get("key", ""))
    source = str(getattr(source, "value", source or ""))
    got, wanted = complaint(str(faults[0].get("message", "")), key)
    if source == "query" and key in request.query_params:
        got = repr(request.query_params[key])[:LONGEST]
    where = ".".join(part for part in (source, key) if part)
    return {"where": where, "got": got or "another value", "wanted": wanted}


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """The problems a route may answer, for openapi.json."""
    return {
        status: ResponseSpec(
            Problem, media_type=MEDIA_TYPE, description=HTTPStatus(status).phrase, generate_examples=False
        )
        for status in statuses
    }
