"""The offline table as a picture: one panel a subset, a dot with its interval a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regulars.core.errors import InputError

_ROW_HEIGHT = 26
_PANEL_HEAD = 70


def figure(rows: Sequence[dict[str, Any]], metric: str = "ndcg@20") -> dict[str, Any]:
    """A Plotly figure as plain values (`data`, `layout`), so that pages can send it as JSON.

    Rows need `model`, `subset`, the metric and its `_low` and `_high`, as `offline.table` gives them.
    """
    subsets = list(dict.fromkeys(row["subset"] for row in rows))
    if not subsets or any(metric not in row for row in rows):
        raise InputError("plot", got=f"{len(rows)} rows, not all with {metric!r}", wanted="rows of the offline table")
    share = 1 / len(subsets)
    gap = 0.25 * share if len(subsets) > 1 else 0.0
    layout: dict[str, Any] = {
        "template": None,
        "height": sum(_PANEL_HEAD + _ROW_HEIGHT * sum(row["subset"] == name for row in rows) for name in subsets),
        "margin": {"l": 110, "r": 20, "t": 40, "b": 40},
        "showlegend": False,
        "annotations": [],
    }
    data = []
    for place, subset in enumerate(subsets):
        top = 1 - place * share
        number = "" if place == 0 else str(place + 1)
        layout[f"yaxis{number}"] = {"domain": [top - share + gap, top - gap / 2], "autorange": "reversed"}
        layout[f"xaxis{number}"] = {"anchor": f"y{number}", "title": {"text": metric}, "rangemode": "tozero"}
        layout["annotations"].append(
            {"text": subset, "x": 0, "y": top - gap / 2, "xref": "paper", "yref": "paper", "showarrow": False,
             "xanchor": "left", "yanchor": "bottom"}
        )  # fmt: skip
        data.append(_dots([row for row in rows if row["subset"] == subset], metric, number))
    return {"data": data, "layout": layout}


def to_html(rows: Sequence[dict[str, Any]], metric: str = "ndcg@20") -> str:
    """One page that holds the figure and the script that draws it; it loads nothing from anywhere."""
    import plotly.io  # slow to import, and only needed here

    page: str = plotly.io.to_html(figure(rows, metric), include_plotlyjs=True, full_html=True)
    return page


def _dots(rows: Sequence[dict[str, Any]], metric: str, number: str) -> dict[str, Any]:
    middle = [row[metric] for row in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": rows[0]["subset"],
        "x": middle,
        "y": [row["model"] for row in rows],
        "xaxis": f"x{number}",
        "yaxis": f"y{number}",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [row.get(f"{metric}_high", row[metric]) - row[metric] for row in rows],
            "arrayminus": [row[metric] - row.get(f"{metric}_low", row[metric]) for row in rows],
        },
    }
