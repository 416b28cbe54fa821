"""What every registered model is to a data scientist: settings as scikit-learn has them, tables and ids."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from models.conftest import build, every_model
from regulars.core.clock import DAY
from regulars.core.data import Dataset
from regulars.core.errors import NotFitted, SettingError
from regulars.models.base import Model


def other_than(model: Model) -> dict[str, Any]:
    """For each setting that is a number or a switch, a value that is not its default."""
    found: dict[str, Any] = {}
    for setting, value in model.get_params().items():
        if isinstance(value, str):
            continue
        number = 0.0 if value is None else value  # None: the fit chooses
        for tried in [not value] if isinstance(value, bool) else [number + 1, number - 1, number / 2 or 0.5]:
            with contextlib.suppress(SettingError):
                build(model.name, **{setting: tried})
                found[setting] = tried
                break
    return found


@every_model
def test_params_and_repr_round_trip(name: str) -> None:
    model = build(name)
    same = type(model)(**model.get_params())
    assert repr(same) == repr(model) == f"{type(model).__name__}()"  # nothing but the defaults
    assert model.name == name
    json.dumps(model.get_params())  # a manifest can hold them
    assert str(model) == f"{model!r}, not fitted"
    for setting, value in other_than(model).items():
        assert repr(build(name, **{setting: value})) == f"{type(model).__name__}({setting}={value!r})"


@every_model
def test_settings_can_be_changed_and_are_checked(name: str) -> None:
    model, before = build(name), build(name).get_params()
    for setting, value in other_than(model).items():
        assert model.set_params(**{setting: value}) is model
        assert model.get_params() == before | {setting: value}
        model.set_params(**before)
    assert model.set_params().get_params() == before
    wrongs: list[dict[str, Any]] = [{"no_such_setting": 1}, *({setting: "nonsense"} for setting in before)]
    for wrong in wrongs:
        with pytest.raises(SettingError, match=rf"{name}.*got .*wanted"):
            model.set_params(**{**before, **wrong})
        assert model.get_params() == before


@every_model
def test_scikit_learn_clones_it(name: str, shop: Dataset) -> None:
    changed = other_than(build(name))
    model = build(name, **dict(list(changed.items())[:1]))
    model.n_items_ = 3  # as if fitted
    copy = clone(model)
    assert type(copy) is type(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFitted, match=name):
        copy.recommend(np.ones(3))


@every_model
def test_ids_in_ids_out(name: str) -> None:
    """A fit on a table answers in its ids what a fit on its indices answers in indices."""
    rows = [(user, item) for user in range(6) for item in range(5) if (user * 3 + item * 2) % 5 < 3]
    at = np.arange(len(rows)) * DAY
    table = {
        "顾客": [f"顾客-{user}" for user, _ in rows],
        "sku": [100 + item for _, item in rows],
        "time": at // 10**6,
    }
    model = build(name).fit(table)
    assert str(model) == f"{model!r}, fitted on {len(rows)} events of 6 shoppers and 5 items"
    assert model.known is not None
    plain = build(name).fit(replace(model.known.data, names=None))
    for excluded in (True, False):
        found = model.recommend(users=["顾客-4", "顾客-0"], k=3, exclude_seen=excluded)
        assert found.column_names == ["顾客", "sku", "score", "rank"]
        items, scores = plain.recommend(
            model.known.data.histories(np.array([4, 0])), k=3, exclude_seen=excluded, now=model.known.data.as_of
        )
        there = items >= 0
        ids = [f"顾客-{4 if row == 0 else 0}" for row in np.nonzero(there)[0]]
        assert found["顾客"].to_pylist() == ids
        assert found["sku"].to_pylist() == [model.known.names.items[item] for item in items[there]]
        assert found["rank"].to_pylist() == (np.nonzero(there)[1] + 1).tolist()
        np.testing.assert_array_equal(found["score"].to_numpy(), scores[there])


@every_model
@pytest.mark.parametrize("wrong", ["nonsense", float("nan"), [], -1e300])
def test_settings_are_checked_in_the_constructor(name: str, wrong: Any) -> None:
    for setting in build(name).get_params():
        with pytest.raises(SettingError, match=rf"{setting}.*got .*wanted"):
            build(name, **{setting: wrong})
