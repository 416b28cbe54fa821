"""Templates to answers."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from litestar import Response

_templates = Environment(
    loader=PackageLoader("regulars.serve.pages"), autoescape=select_autoescape(), undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


def page(template: str, *, status_code: int = 200, **context: Any) -> Response[str]:
    """Render a page; pages are never stored, because they carry a person's session."""
    return Response(
        _templates.get_template(template).render(**context), status_code=status_code, media_type="text/html",
        headers={"Cache-Control": "no-store"},
    )  # fmt: skip
