"""What every model that torch trains promises: it is served without torch, and a checkpoint is gone on from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.conftest import AS_OF
from regulars.core.data import Dataset, Histories
from regulars.core.errors import TrainingError
from regulars.models.deep.plan import Hooks, Progress
from regulars.models.registry import MODELS, make_model

NAMES = sorted(name for name, path in MODELS.items() if path.startswith("deep."))
every_deep_model = pytest.mark.parametrize("name", NAMES)
WITHOUT_TORCH = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from pathlib import Path
from regulars import models
from regulars.core.data import Histories
from regulars.models.registry import load_model
for name in models.__all__:
    getattr(models, name)
folder, n_items, now = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print(json.dumps([
    load_model(each).score(Histories.from_sequences([[1, 2, 3]], n_items), now)[0].tolist()
    for each in sorted(folder.iterdir())
]))
"""


def made(name: str, **hooks: Any) -> Any:
    model: Any = make_model(name, {"epochs": 2})
    model.hooks = Hooks(**hooks)
    return model


def test_all_are_imported_loaded_and_asked_without_torch(shop: Dataset, tmp_path: Path) -> None:
    asked, wanted = Histories.from_sequences([[1, 2, 3]], shop.shape[1]), []
    for name in NAMES:
        model = made(name).fit(shop)
        model.save(tmp_path / name)
        wanted.append(model.score(asked, AS_OF)[0])
    words = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path), str(shop.shape[1]), str(AS_OF)]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(json.loads(run.stdout), wanted, atol=1e-5)
    assert any(np.ptp(scores) > 0 for scores in wanted)


@every_deep_model
def test_a_fit_without_torch_names_the_extra(name: str, shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(TrainingError, match=rf"{name}: fit: got no torch, .* pip install 'regulars\[deep\]'"):
        made(name).fit(shop)


@every_deep_model
def test_a_finished_training_is_not_done_again(name: str, shop: Dataset, tmp_path: Path) -> None:
    told: list[Progress] = []
    first = made(name, checkpoints=tmp_path, watch=told.append).fit(shop)
    n_epochs = len(told)
    again = made(name, checkpoints=tmp_path, watch=told.append).fit(shop)
    assert len(told) == n_epochs > 0
    np.testing.assert_array_equal(again.score(shop.histories(), AS_OF), first.score(shop.histories(), AS_OF))
