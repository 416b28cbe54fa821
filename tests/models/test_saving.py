"""Every model saved and loaded: the same answers, and whatever is damaged or foreign is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.conftest import build, every_model
from models.test_contract import scores_of
from regulars.core.data import Dataset
from regulars.core.errors import ModelError
from regulars.models.base import MANIFEST
from regulars.models.registry import load_model, model_class


@every_model
def test_saved_is_loaded(name: str, shop: Dataset, tmp_path: Path) -> None:
    model = build(name).fit(shop)
    model.save(tmp_path / "m")
    for loaded in (type(model).load(tmp_path / "m"), load_model(tmp_path / "m")):
        assert type(loaded) is type(model)
        assert repr(loaded) == repr(model)
        np.testing.assert_array_equal(scores_of(loaded, shop), scores_of(model, shop))
    assert {path.suffix for path in (tmp_path / "m").iterdir()} <= {".npy", ".json"}


@every_model
def test_a_damaged_array_is_refused(name: str, shop: Dataset, tmp_path: Path) -> None:
    build(name).fit(shop).save(tmp_path)
    for path in sorted(tmp_path.glob("*.npy")):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ModelError, match=path.name):
            load_model(tmp_path)
        path.unlink()
        with pytest.raises(ModelError, match="missing or changed"):
            load_model(tmp_path)
        path.write_bytes(whole)
    load_model(tmp_path)


@every_model
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 0}, "format 0, wanted format 1. Run `regulars train`"),
        ({"revision": 99}, "revision 99 of .* train again"),
        ({"model": "another"}, "'another'"),
        ({"params": {"no_such_setting": 1}}, "argument"),
        ({"kinds": {}}, "no fit"),
        ({"kinds": {"n_items_": "value"}, "values": {}}, "n_items_"),
        ({"kinds": None}, "NoneType"),
    ],
)
def test_a_foreign_or_older_folder_is_refused(
    name: str, change: dict[str, Any], reason: str, shop: Dataset, tmp_path: Path
) -> None:
    build(name).fit(shop).save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | change))
    with pytest.raises(ModelError, match=reason):
        model_class(name).load(tmp_path)


def test_a_folder_of_before_revisions_is_of_the_first(shop: Dataset, tmp_path: Path) -> None:
    for name, sound in (("als", True), ("mf", False)):
        build(name).fit(shop).save(tmp_path / name)
        path = tmp_path / name / MANIFEST
        manifest = json.loads(path.read_text())
        del manifest["revision"]
        path.write_text(json.dumps(manifest))
        if sound:
            load_model(tmp_path / name)
        else:
            with pytest.raises(ModelError, match="revision 1 of 'mf', wanted 2"):
                load_model(tmp_path / name)


@every_model
@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1}', "\x00"])
def test_a_broken_manifest_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=str(tmp_path)):
        model_class(name).load(tmp_path)


@every_model
def test_a_folder_of_another_model_is_refused(name: str, tmp_path: Path) -> None:
    other = "random" if name != "random" else "popular"
    build(other).fit(np.eye(3)).save(tmp_path)
    with pytest.raises(ModelError, match=f"got a '{other}' model, wanted '{name}'"):
        model_class(name).load(tmp_path)
    with pytest.raises(ModelError, match=MANIFEST):
        model_class(name).load(tmp_path / "nowhere")
