"""What the practice shop's table says of games whose figures are made up here."""

from __future__ import annotations

from typing import Any

import pytest

from regulars import practice


def games(policy: str, returned: list[float]) -> list[dict[str, Any]]:
    rest = {figure: 1.0 for figure in practice.FIGURES} | {
        "settings_hash": "x",
        "slate_share": 0.1,
        "seconds": 1.0,
        "peak_mb": 1,
    }
    return [{**rest, "policy": policy, "seed": seed, "returned@7": value} for seed, value in enumerate(returned)]


def test_pairs_are_matched_by_seed_and_the_share_is_of_the_oracles_gain() -> None:
    """Seeds differ by .2, policies by .1 and .3 in every seed: paired differences have no spread."""
    popular, slate, oracle = games("popular", [0.3, 0.5]), games("slate", [0.4, 0.6]), games("oracle", [0.6, 0.8])
    rows = practice.rows_of(["popular", "slate", "oracle"], [*reversed(popular), *slate, *oracle])
    by_name = {row["model"]: row for row in rows}
    assert by_name["slate"]["returned@7"] == pytest.approx(0.5)
    assert by_name["slate"]["returned@7_low"] < 0
    gain = by_name["slate-popular"]
    assert [gain[f"returned@7{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.1] * 3)
    assert by_name["share-of-oracle"]["ratio"] == pytest.approx(1 / 3)


def test_no_share_of_a_gain_that_is_chance() -> None:
    """In a world where nothing can be gained, the ratio of two accidents says nothing."""
    played = games("popular", [0.5, 0.4]) + games("slate", [0.6, 0.4]) + games("oracle", [0.4, 0.51])
    rows = practice.rows_of(["popular", "slate", "oracle"], played)
    assert rows[-1] == {"model": "share-of-oracle", "ratio": None}
    text = practice.Comparison("null-taste", played, rows).text()
    assert text.splitlines()[-1].startswith("| share-of-oracle |  |")
