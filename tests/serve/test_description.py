"""The started server against its own description: whatever is sent, it answers as openapi.json promises."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode, checks
from schemathesis.core.result import Ok

from serve.parts import Doors

PROMISES = [
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_whatever_is_sent_is_answered_as_described(doors: Doors, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{doors.url}/openapi.json")
    key = {"Authorization": f"Bearer {doors.parts.keys.admin}"}
    tried = set()
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    if mode.is_negative:  # what takes nothing cannot be asked wrongly
        operations = [each for each in operations if each.body or list(each.iter_parameters())]
    for operation in operations:

        @settings(max_examples=40, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
        @given(case=operation.as_strategy(mode))
        def answer(case: Case[Any]) -> None:
            case.call_and_validate(headers=key, checks=PROMISES)
            tried.add(case.operation.label)

        answer()
    assert tried == {operation.label for operation in operations}
    assert len(tried) > 10
