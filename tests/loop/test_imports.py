"""Importing costs little and changes nothing; kernels say the same without their compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
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


def test_an_import_sets_up_no_logging_and_no_randomness() -> None:
    code = (
        "import logging, numpy as np; np.random.seed(3); before = np.random.get_state()[1].tolist();"
        "import regulars.app, regulars.pipeline, regulars.practice;"
        "print(len(logging.getLogger().handlers), logging.getLogger().level == logging.WARNING,"
        "      np.random.get_state()[1].tolist() == before)"
    )
    assert run(code).split() == ["0", "True", "True"]


FLOATS = ("says", "off-propensity", "epsilon-propensity", "softmax-propensity")
RANK = """
import json, numpy as np
from regulars.core.settings import RankSettings
from regulars.core.topk import top_k
from regulars.core.data import Histories
from regulars.rank.candidates import gather
from regulars.rank.draw import draw
from regulars.rank.retrieve import retrievers
from regulars.models.als import ALS
from regulars.models.popular import Popular
from regulars.models.item_knn import ItemKNN

rng = np.random.default_rng(0)
x = (rng.random((6, 8)) < 0.5).astype(np.float32)
x[:, 0] = 1
models = {"popular": Popular().fit(x), "item-knn": ItemKNN().fit(x), "als": ALS(factors=2).fit(x)}
history = Histories.from_matrix(x[:3])
banned = np.array([[1], [-1], [2]], dtype=np.int32)
everything, gap = np.ones(8, dtype=np.bool_), np.full(8, 5, dtype=np.float32)
found = gather(retrievers(models), history, 10, everything, banned, gap, 4)
scores = found.says.sum(axis=2)
scores[found.item_idx < 0] = -np.inf
said = {"item_idx": found.item_idx, "says": found.says, "bought": found.bought, "n": found.n}
for mode in ("off", "epsilon", "softmax"):
    rank = RankSettings(explore=mode, explore_pool=4, epsilon=0.5, diversity=0.2)
    drawn = draw(scores, (found.item_idx % 3).astype(np.int32), np.array([[-1], [0], [1]], dtype=np.int32),
                 np.array([4, 3, 4], dtype=np.int32), rank, rng.random((3, 4)))
    said |= {f"{mode}-{name}": getattr(drawn, name) for name in ("place", "propensity", "explored")}
print(json.dumps({name: array.astype(float).tolist() for name, array in said.items()}))
"""


@pytest.mark.slow
def test_rank_kernels_say_the_same_without_the_compiler() -> None:
    compiled, plain = json.loads(run(RANK, NUMBA_DISABLE_JIT="0")), json.loads(run(RANK, NUMBA_DISABLE_JIT="1"))
    assert compiled.keys() == plain.keys()
    for name, said in compiled.items():  # sums of float32 may differ in the last place
        np.testing.assert_allclose(said, plain[name], rtol=0, atol=5e-5 if name in FLOATS else 0, err_msg=name)
    assert np.array(compiled["softmax-place"]).max() >= 0
