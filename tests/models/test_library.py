"""Models as a library: names, the door, five lines of use, and what an import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models.conftest import checkerboard
from regulars.core.errors import SettingError
from regulars.models.registry import MODELS, model_class


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(SettingError, match="Try 'popular'"):
        model_class("populer")


def test_the_library_door() -> None:
    import regulars.models

    assert {path.partition(":")[2] for path in MODELS.values()} == set(dir(regulars.models))
    with pytest.raises(AttributeError, match="NoSuchModel"):
        _ = regulars.models.NoSuchModel


def test_five_line_library_use() -> None:
    from regulars.models import ALS

    taken, hidden = checkerboard()
    model = ALS(factors=64).fit(taken)
    items, scores = model.recommend(taken[0], k=10)
    assert items.shape == scores.shape == (1, 10)
    assert items[0, 0] == hidden[0]


@pytest.mark.parametrize("statement", ["import regulars.models", "from regulars.models import *"])
def test_importing_models_imports_no_heavy_library(statement: str) -> None:
    heavy = {"torch", "ibis", "duckdb", "litestar", "pandas", "pyarrow"}
    code = f"{statement}\nimport sys\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
