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
    where, message = _first_fault(error)
    where = where or f"{request.method} {request.url.path}"
    wanted, _, got = message.partition(", got ")
    return problem(error.status_code, dict(error.headers or {}), detail=error.detail, where=where, got=got,
                   wanted=wanted.removeprefix("Expected "))  # fmt: skip


def on_any(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer a fault of ours: the log tells what, the answer does not."""
    log.error("request failed", exc_info=error)
    return problem(500, detail="The server failed; its log says why.", remedy="Try again, then look into the log.")


def _first_fault(error: HTTPException) -> tuple[str, str]:
    """Where and what a validation error complains of."""
    faults = error.extra if isinstance(error.extra, list) else []
    if not faults or not isinstance(faults[0], dict):
        return "", ""
    fault = faults[0]
    source = getattr(fault.get("source"), "value", fault.get("source"))
    place = ".".join(str(part) for part in (source, fault.get("key")) if part)
    return place, str(fault.get("message", ""))


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """The problems a route may answer, for openapi.json."""
    return {
        status: ResponseSpec(
            Problem, media_type=MEDIA_TYPE, description=HTTPStatus(status).phrase, generate_examples=False
        )
        for status in statuses
    }
