"""Every error says where, what it got, what it wanted and what helps."""

from __future__ import annotations

import pickle

import pytest

from regulars.core import errors


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "k"),
        ({"got": "0"}, "k: got 0"),
        ({"got": "0", "wanted": "1"}, "k: got 0, wanted 1"),
        ({"wanted": "1", "remedy": "Count up."}, "k: wanted 1. Count up."),
        ({"remedy": "Count up."}, "k. Count up."),
    ],
)
def test_text(parts: dict[str, str], text: str) -> None:
    assert str(errors.InputError("k", **parts)) == text


def test_tree_and_exit_codes() -> None:
    wrong_use = {errors.SettingError, errors.WrongUse}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = [kind for kind in kinds if not issubclass(kind, Warning)]
    assert len(kinds) >= 8
    for kind in kinds:
        assert issubclass(kind, errors.RegularsError)
        assert kind.exit_code == (2 if kind in wrong_use else 1)
    assert issubclass(errors.InputError, ValueError)


def test_an_error_survives_the_way_between_processes() -> None:
    error = errors.ModelError("folder", got="dust", wanted="a model", remedy="Train.")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (errors.ModelError, str(error))
