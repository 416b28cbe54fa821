"""Importing costs little and changes nothing; kernels say the same without their compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "ibis", "duckdb", "litestar", "uvicorn", "plotly", "pyarrow", "pandas", "sklearn")


def run(code: str, **env: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240,
                          env={**os.environ, **env})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["regulars", "regulars.models", "regulars.cli", "regulars.core.settings"])
def test_an_import_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run(code).strip() == "[]"


def test_an_import_leaves_logging_and_warnings_alone() -> None:
    code = (
        "import logging, warnings; before = list(warnings.filters); import regulars.app, regulars.pipeline;"
        "print(len(logging.getLogger().handlers), logging.getLogger().level == logging.WARNING,"
        "      any(each in before for each in warnings.filters[:1]) or not before)"
    )
    assert run(code).split() == ["0", "True", "True"]


RANK = """
import json, numpy as np
from regulars.core.settings import RankSettings
from regulars.core.topk import top_k
from regulars.core.data import Histories
from regulars.rank.candidates import gather
from regulars.rank.draw import draw
from regulars.models.popular import Popular
from regulars.models.item_knn import ItemKNN

rng = np.random.default_rng(0)
x = (rng.random((6, 8)) < 0.5).astype(np.float32)
x[:, 0] = 1
models = {"popular": Popular().fit(x), "item-knn": ItemKNN().fit(x)}
history = Histories.from_matrix(x[:3])
banned = np.array([[1], [-1], [2]], dtype=np.int32)
found = gather(models, history, 10, np.ones(8, dtype=np.bool_), banned, np.full(8, 5, dtype=np.float32), 4)
scores = found.says.sum(axis=2)
scores[found.item_idx < 0] = -np.inf
said = [found.item_idx.tolist(), found.says.round(5).tolist(), found.bought.tolist(), found.n.tolist()]
for mode in ("off", "epsilon", "softmax"):
    rank = RankSettings(explore=mode, explore_pool=4, epsilon=0.5, diversity=0.2)
    drawn = draw(scores, (found.item_idx % 3).astype(np.int32), np.array([[-1], [0], [1]], dtype=np.int32),
                 np.array([4, 3, 4], dtype=np.int32), rank, rng.random((3, 4)))
    said += [drawn.place.tolist(), drawn.propensity.round(9).tolist(), drawn.explored.tolist()]
print(json.dumps(said))
"""


@pytest.mark.slow
def test_rank_kernels_say_the_same_without_the_compiler() -> None:
    compiled, plain = json.loads(run(RANK, NUMBA_DISABLE_JIT="0")), json.loads(run(RANK, NUMBA_DISABLE_JIT="1"))
    assert compiled == plain
    assert any(place >= 0 for row in compiled[4] for place in row)
