"""The bench of growth: slopes of known laws, and every stage on a shop small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import growth as bench
from measure import Row

EVENTS = (1_000_000, 3_000_000, 10_000_000)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5])
def test_the_slope_of_a_power_law_is_its_power(power: float) -> None:
    assert bench.slope(EVENTS, [3e-5 * n**power for n in EVENTS]) == power


def test_the_slope_is_that_of_least_squares() -> None:
    costs = [2.0, 5.0, 30.0]
    wanted = np.polyfit(np.log(EVENTS), np.log(costs), 1)[0]
    assert bench.slope(EVENTS, costs) == pytest.approx(wanted, abs=0.005)
    assert bench.slope(EVENTS, [0.0, 0.0, 0.0]) == 0


def row(stage: str, events: int, seconds: float, peak_mb: int) -> Row:
    return {"model": stage, "events": events, "seconds": seconds, "cpu_seconds": 2 * seconds, "base_mb": 100,
            "peak_mb": peak_mb}  # fmt: skip


def test_exponents_by_stage() -> None:
    linear = [row("clean", n, n / 1e6, 100 + n // 100_000) for n in EVENTS]
    square = [row("ease", n, n**2 / 1e12, 101) for n in EVENTS]
    found = bench.exponents([*linear, *square, row("als", 1000, 1.0, 200)])
    assert found == [
        {"model": "clean", "by": "ours", "subset": "exponent", "exponent": 1.0, "cpu_exponent": 1.0,
         "memory_exponent": 1.0},
        {"model": "ease", "by": "ours", "subset": "exponent", "exponent": 2.0, "cpu_exponent": 2.0,
         "memory_exponent": 0.0},
    ]  # fmt: skip


def test_the_figure_has_a_line_a_stage_and_cost() -> None:
    rows = [row(stage, n, n / 1e6, 300) for stage in ("clean", "als") for n in EVENTS]
    drawn = bench.figure([*rows, *bench.exponents(rows)])
    assert [(line["name"], line["yaxis"]) for line in drawn["data"]] == [
        ("clean", "y"), ("als", "y"), ("clean", "y2"), ("als", "y2"),
    ]  # fmt: skip
    assert drawn["data"][0]["x"] == list(EVENTS)
    assert drawn["data"][0]["y"] == [1.0, 3.0, 10.0]
    assert "plotly" in bench.to_html(rows)


def test_every_stage_runs_on_what_those_before_it_left(tmp_path: Path) -> None:
    told = bench.write_log(tmp_path / "shop", 3000)
    assert 2000 < told["events"] < 4500
    assert told["items"] == 55
    bench.fill(tmp_path / "shop")
    done = {stage: bench.ready(tmp_path / "shop", stage)() for stage in bench.STAGES[1:]}
    assert {getattr(done[name], "name", None) for name in bench.MODELS} == set(bench.MODELS)
    table = done["evaluate"]
    assert isinstance(table, list)
    assert {row["model"] for row in table} == {*bench.MODELS, "slate"}


def test_shoppers_grow_with_the_events_and_items_with_their_root(tmp_path: Path) -> None:
    small, large = (bench.write_log(tmp_path / str(events), events) for events in (3000, 12_000))
    assert large["events"] / small["events"] == pytest.approx(4, rel=0.3)
    assert large["users"] / small["users"] == pytest.approx(4, rel=0.05)
    assert large["items"] / small["items"] == pytest.approx(2, rel=0.02)
