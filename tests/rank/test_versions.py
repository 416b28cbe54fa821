"""Versions: one is served, some are kept, switching is one rename."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rank.conftest import Shop, goods
from regulars.core.data import IdMap
from regulars.core.errors import ModelError, WrongUse
from regulars.models.popular import Popular
from regulars.rank.blend import Blend
from regulars.rank.bundle import FILE, Bundle
from regulars.rank.versions import CURRENT, Versions


def bundle(version: str) -> Bundle:
    made = Shop(goods()).bundle
    model = Popular().fit([[1.0] * 6])
    return replace(made, version=version, models={"popular": model}, blend=Blend.prior(("popular",)))


def test_before_the_first(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    assert (versions.names(), versions.current(), versions.load_current()) == ([], "", None)
    with pytest.raises(WrongUse, match="Train first"):
        versions.rollback()


def test_the_newest_is_served_and_the_oldest_go(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    for number in range(5):
        versions.publish(bundle(f"v{number}"), keep=3)
    assert versions.names() == ["v2", "v3", "v4"]
    assert versions.current() == "v4"
    served = versions.load_current()
    assert served is not None
    assert served.version == "v4"
    assert versions.about("v3")["version"] == "v3"


def test_versions_of_the_same_items_share_their_map(tmp_path: Path) -> None:
    versions, loaded = Versions(tmp_path), []
    other = Bundle.load(versions.publish(bundle("v0"), keep=9)).items
    for made in (bundle("v1"), bundle("v2"), replace(bundle("v3"), items=IdMap(reversed(other.ids)))):
        versions.publish(made, keep=9)
        loaded.append(versions.load_current())
    first, second, third = (each.items for each in loaded if each is not None)
    assert first is second
    assert first is not other
    assert (list(first.ids), list(third.ids)) == (list(other.ids), list(other.ids)[::-1])


def test_rollback_goes_back_one_by_one(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    for number in range(3):
        versions.publish(bundle(f"v{number}"), keep=3)
    assert [versions.rollback(), versions.current(), versions.rollback(), versions.current()] == [
        "v1",
        "v1",
        "v0",
        "v0",
    ]
    with pytest.raises(WrongUse, match="older version"):
        versions.rollback()
    assert versions.current() == "v0"


def test_the_served_version_is_never_dropped(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    for number in (3, 4):
        versions.publish(bundle(f"v{number}"), keep=2)
    versions.publish(bundle("v1"), keep=1)  # a clock set back
    assert versions.names() == ["v1"]
    assert versions.load_current() is not None


def test_an_unknown_version_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    versions.publish(bundle("v0"), keep=2)
    with pytest.raises(ModelError, match="no such version, wanted one of: v0"):
        versions.switch("v9")
    with pytest.raises(ModelError, match="no such version"):
        versions.switch("../models/v0")
    assert versions.current() == "v0"


def test_a_version_that_was_never_finished_does_not_count(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    versions.publish(bundle("v0"), keep=2)
    versions.publish(bundle("v1"), keep=2)
    (tmp_path / "models" / "v1" / FILE).unlink()
    assert versions.names() == ["v0"]
    with pytest.raises(ModelError, match="v1"):
        versions.load_current()
    assert versions.rollback() == "v0"


def test_a_crash_before_the_rename_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions(tmp_path)
    versions.publish(bundle("v0"), keep=2)

    def crash(self: Path, target: Path) -> Path:
        raise OSError("killed")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="killed"):
        versions.publish(bundle("v1"), keep=2)
    assert versions.current() == "v0"
    assert (tmp_path / "models" / f"{CURRENT}.{os.getpid()}").read_text() == "v1"


def test_a_model_of_another_shop_is_refused(tmp_path: Path) -> None:
    here, there = Versions(tmp_path / "here"), Versions(tmp_path / "there")
    for versions in (here, there):
        versions.publish(bundle("v0"), keep=2)
    shutil.rmtree(tmp_path / "here" / "models")
    shutil.copytree(tmp_path / "there" / "models", tmp_path / "here" / "models")
    with pytest.raises(ModelError, match=r"a model of another shop, wanted one trained here\. Run `regulars train`"):
        here.load_current()
    assert there.load_current() is not None
    shutil.copytree(tmp_path / "there", tmp_path / "backup")  # the whole folder is the shop
    assert Versions(tmp_path / "backup").load_current() is not None
