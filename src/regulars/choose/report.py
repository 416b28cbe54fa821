"""What was tried, what it took, what was chosen and why: plain values, Markdown, and a short table for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regulars.choose.halving import CHOSEN, Found, Trial, Tried
from regulars.choose.plot import to_html
from regulars.core.bootstrap import Interval
from regulars.core.clock import SECOND, Instant, format_duration, format_instant
from regulars.core.errors import StorageError
from regulars.evaluate.offline import to_json as strict_json

FOLDER = "reports"
Values = Mapping[str, Any]
SHORT = 10  # lines of the short table


def to_values(found: Found, at: Instant) -> dict[str, Any]:
    """Everything of a search as plain values."""
    asked, budget = found.question, found.budget
    return {
        "at": format_instant(at), "shoppers_asked": len(asked), "about": asked.about,
        "until": format_instant(asked.before.as_of), "shoppers": len(asked.before.users),
        "items": len(asked.before.items), "interactions": len(asked.before.interactions),
        "shares": list(asked.shares),
        "budget_s": round(budget.seconds, 3), "choice_s": round(budget.choice_s, 3),
        "seconds": round(found.seconds, 3), "fits": budget.fits, "fits_s": round(budget.fits * found.fits_s, 3),
        "others_s": round(budget.others_s, 3),
        "why": found.why, "chosen": [{"model": each.model, "params": dict(each.params)} for each in found.chosen],
        **({} if found.ndcg is None else _keyed("ndcg@20", found.ndcg)),
        "tried": [_tried(each) for each in sorted(found.tried, key=_standing)],
    }  # fmt: skip


def _standing(each: Tried) -> tuple[bool, float, float]:
    """The chosen first, then by how far it came, then by how good it was there."""
    last = each.trials[-1] if each.trials else None
    return each.fate != CHOSEN, -(last.share if last else 0.0), -(last.ndcg.mean if last else 0.0)


def _tried(each: Tried) -> dict[str, Any]:
    return {
        "label": each.candidate.label, "model": each.candidate.model, "params": dict(each.candidate.params),
        "fate": each.fate, "why": each.why, "trials": [_trial(trial) for trial in each.trials],
        "estimate_mb": round(each.estimate_mb) if math.isfinite(each.estimate_mb) else None,
    }  # fmt: skip


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "share": trial.share, "seconds": round(trial.seconds, 3), "rank_seconds": round(trial.rank_seconds, 3),
        "peak_mb": round(trial.peak_mb), **_keyed("ndcg@20", trial.ndcg), **_keyed("behind", trial.behind),
    }  # fmt: skip


def _keyed(key: str, found: Interval) -> dict[str, float]:
    return {key: found.mean, f"{key}_low": found.low, f"{key}_high": found.high}


def write(home: Path, values: Values) -> Path:
    """Keep a report as Markdown, JSON and a chart in the shop's folder; the path of the Markdown."""
    stem = "choice-" + values["at"][:19].replace(":", "").replace("-", "")
    path = home / FOLDER / f"{stem}.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(strict_json([dict(values)])[1:-1].strip() + "\n", encoding="utf-8")
        path.with_suffix(".html").write_text(to_html(values), encoding="utf-8")
        path.write_text(to_markdown(values), encoding="utf-8")
    except OSError as error:
        raise StorageError(str(path), got=str(error), wanted="a file that can be written") from error
    return path


COLUMNS = ("setting", "learned from", "NDCG@20", "behind", "seconds", "MB", "what became of it")
NOTE = """NDCG@20 with its 95 % interval over the shoppers asked, on the largest share of shoppers that a setting
learned from; *behind* is the difference from the best of that share, the same shoppers compared. Seconds are those of
the fit; MB is what it held at most beside the data, in brackets what the model itself expects for everything."""


def to_markdown(values: Values) -> str:
    """The report for people."""
    lines = [f"# What to fit: the choice of {values['at']}", "", *_head(values), "", "## Chosen", ""]
    if values["chosen"]:
        lines += _table(("setting", "why", "NDCG@20 alone"), [
            (each["label"], each["why"], _score(each)) for each in values["tried"] if each["fate"] == CHOSEN
        ])  # fmt: skip
        lines += ["", "To hold this by hand, whatever later searches say:", "", "```toml", *_toml(values), "```"]
    else:
        lines.append(f"Nothing: {values['why']}. The settings stay as they are.")
    tried = [each for each in values["tried"] if each["trials"]]
    if tried:
        lines += ["", "## What was tried", "", *_table(COLUMNS, [_line(each) for each in tried])]
        lines += ["", NOTE]
    idle = [each for each in values["tried"] if not each["trials"]]
    if idle:
        whys = dict.fromkeys(each["why"] for each in idle)
        lines += ["", "## What was not", "", *_table(("why", "settings"), [
            (why, ", ".join(f"`{each['label']}`" for each in idle if each["why"] == why)) for why in whys
        ])]  # fmt: skip
    return "\n".join(lines) + "\n"


def _head(values: Values) -> list[str]:
    shares = ", then ".join(share_text(share) for share in values["shares"])
    lines = [
        f"{values['shoppers_asked']:,} shoppers were asked about: each setting ranked all {values['items']:,} items",
        f"for them, having learned until {values['until']}, and was held against what they {values['about']}.",
        f"There are {values['shoppers']:,} shoppers with {values['interactions']:,} interactions to learn from:",
        f"{shares}.", "",
        f"Of a budget of {seconds_text(values['budget_s'])} the choice had {seconds_text(values['choice_s'])}",
        f"and used {seconds_text(values['seconds'])}:",
        f"{n_tried(values)} of {len(values['tried'])} settings were tried.",
    ]  # fmt: skip
    if values["chosen"]:
        lines.append(f"The {values['fits']} fits of all that is chosen, which follow, should take "
                     f"{seconds_text(values['fits_s'])}.")  # fmt: skip
    return lines


def _line(each: Values) -> tuple[str, ...]:
    last = each["trials"][-1]
    return (
        f"`{each['label']}`", share_text(last["share"]), _score(each), _interval(last, "behind", "+"),
        f"{last['seconds']:.2f}",
        f"{max(trial['peak_mb'] for trial in each['trials']):,} ({each['estimate_mb'] or 0:,})",
        f"{each['fate']}: {each['why']}",
    )  # fmt: skip


def _score(each: Values) -> str:
    return _interval(each["trials"][-1], "ndcg@20") if each["trials"] else "-"


def _interval(values: Values, key: str, sign: str = "") -> str:
    return f"{values[key]:{sign}.4f} [{values[f'{key}_low']:{sign}.4f}, {values[f'{key}_high']:{sign}.4f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns are aligned in the text, too."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _toml(values: Values) -> list[str]:
    names = ", ".join(f'"{each["model"]}"' for each in values["chosen"])
    lines = ["[train]", f"models = [{names}]"]
    for each in values["chosen"]:
        if each["params"]:
            lines += ["", f"[models.{each['model']}]"]
            lines += [f"{key} = {_toml_value(value)}" for key, value in each["params"].items()]
    return lines


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def short(values: Values) -> str:
    """What a terminal shows: the chosen and the best of the others, and where the rest stands."""
    tried = [each for each in values["tried"] if each["trials"] or each["fate"] == CHOSEN]
    lines = [f"{n_tried(values)} of {len(values['tried'])} settings were tried in {seconds_text(values['seconds'])}."]
    if not values["chosen"]:
        lines.append(f"Nothing is chosen, the settings stay as they are: {values['why']}.")
    if tried:
        lines += ["", *_table(COLUMNS, [
            tuple(cell.strip("`") for cell in _line(each)) if each["trials"] else
            (each["label"], "-", "-", "-", "-", "-", f"{each['fate']}: {each['why']}") for each in tried[:SHORT]
        ])]  # fmt: skip
    if "report" in values:
        lines += ["", f"The whole of it stands in {values['report']}, the chart beside it."]
    return "\n".join(lines)


def n_tried(values: Values) -> int:
    """How many settings came to a score."""
    return sum(bool(each["trials"]) for each in values["tried"])


def share_text(share: float) -> str:
    """`1/3`, or `all`."""
    return "all" if share == 1.0 else f"1/{round(1 / share)}"


def seconds_text(seconds: float) -> str:
    """Seconds as people say them: `10m`, `90s`, `2.5s`."""
    return format_duration(
        round(seconds if seconds >= 100 else seconds * 10) * (SECOND if seconds >= 100 else SECOND // 10)
    )


def keep(found: Found, at: Instant, home: Path) -> dict[str, Any]:
    """Write a search's report into the shop's folder; its values, and the path under `report`."""
    values = to_values(found, at)
    return {**values, "report": str(write(home, values).relative_to(home))}
