"""Scores against seconds as a picture: a dot with its interval a setting, on the largest share it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]
SIZES = {"chosen": 13, "beaten": 8, "left out": 8}
METRIC = "ndcg@20"


def figure(values: Values) -> dict[str, Any]:
    """A Plotly figure as plain values (`data`, `layout`); the x axis counts decades of seconds."""
    tried = [each for each in values["tried"] if each["trials"]]
    fates = list(dict.fromkeys(each["fate"] for each in tried))
    layout = {
        "template": None, "height": 560, "margin": {"l": 60, "r": 20, "t": 90, "b": 60}, "hovermode": "closest",
        "title": {"text": f"What was tried until {values['at'][:16].replace('T', ' ')}", "x": 0.02},
        # beside the dots a legend would take half of a phone
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "xaxis": {"type": "log", "dtick": "D2", "title": {"text": "seconds of a fit, and of ranking for all"}},
        "yaxis": {"title": {"text": "NDCG@20, 95 % interval"}, "rangemode": "tozero"},
    }  # fmt: skip
    return {"data": [_dots([each for each in tried if each["fate"] == fate]) for fate in fates], "layout": layout}


def _dots(tried: Sequence[Values]) -> dict[str, Any]:
    last = [each["trials"][-1] for each in tried]
    fate = tried[0]["fate"]
    sides = ["top left" if place % 2 else "bottom left" for place in range(len(tried))]
    return {
        "type": "scatter", "mode": "markers+text" if fate == "chosen" else "markers", "name": fate,
        "x": [max(trial["seconds"] + trial["rank_seconds"], 0.001) for trial in last],
        "y": [trial[METRIC] for trial in last],
        "text": [each["label"] for each in tried], "textposition": sides,
        "hovertext": [f"{each['label']}: {each['why']}" for each in tried],
        "marker": {"size": SIZES.get(fate, 8)},
        "error_y": {
            "type": "data", "symmetric": False, "thickness": 1,
            "array": [trial[f"{METRIC}_high"] - trial[METRIC] for trial in last],
            "arrayminus": [trial[METRIC] - trial[f"{METRIC}_low"] for trial in last],
        },
    }  # fmt: skip


def to_html(values: Values) -> str:
    """One page that holds the figure and the script that draws it; it loads nothing from anywhere."""
    import plotly.io  # slow to import, and only needed here

    page: str = plotly.io.to_html(figure(values), include_plotlyjs=True, full_html=True)
    return page
