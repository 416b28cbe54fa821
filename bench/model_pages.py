"""docs/models/, a page a registered model: `python bench/model_pages.py docs/models`, or `make docs`.

When to use it is the model's row in the table of docs/models.md; source, equation and cost are its docstring;
settings come from its constructor, which is asked what it takes; measured rows from bench/results/.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from glossary import WORDS
from page import RESULTS, TITLES, Row, metrics, plain
from regulars.core.errors import SettingError
from regulars.models.base import Model
from regulars.models.registry import MODELS, model_class

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "models.md"
NOTE = "<!-- written by `make docs`: do not edit -->"
SIZES = ((1_000, 1_000, 100_000), (10_000, 10_000, 1_000_000), (100_000, 20_000, 10_000_000))
BENCHES = "../benchmarks.md"
Guide = Mapping[str, Sequence[str]]  # model -> learns from, choose it when, a fit costs, an answer costs


def pages() -> dict[str, str]:
    """File name -> text."""
    told, measured = guide(GUIDE.read_text(encoding="utf-8")), results()
    return {"README.md": index(told), **{f"{name}.md": page(name, told, measured) for name in MODELS}}


def guide(text: str) -> Guide:
    """The rows of the table of choices in docs/models.md; a row may be of several models."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {name: row[1:] for row in rows if len(row) == 5 for name in re.findall(r"`([a-z0-9-]+)`", row[0])}


OF_COSTS = ("growth", "stages", "crash")  # their rows say nothing of how good a model is


def results(folder: Path = RESULTS) -> dict[str, Row]:
    """What was measured, by bench, in the order of the page of benchmarks."""
    files = {name: folder / f"{name}.json" for name in TITLES if name not in OF_COSTS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.exists()}


def index(told: Guide) -> str:
    """The list of all pages."""
    lines = [
        "# Every model", "", NOTE, "",
        "When to use it, its cost, its source, its settings and what it reached, a page each. Begin with",
        "[which models, and when](../models.md).", "",
        "| model | what it is | choose it when |", "| --- | --- | --- |",
    ]  # fmt: skip
    for name in MODELS:
        lines.append(f"| [`{name}`]({name}.md) | {summary(model_class(name))} | {told.get(name, ['', ''])[1]} |")
    return "\n".join(lines) + "\n"


def page(name: str, told: Guide, measured: Mapping[str, Row]) -> str:
    """All that is known of one model."""
    kind = model_class(name)
    module = inspect.getmodule(kind)
    _, when, fit, answer = told.get(name, ("", "", "", ""))
    file = f"src/regulars/models/{MODELS[name].partition(':')[0].replace('.', '/')}.py"
    lines = [
        f"# {name}",
        "",
        NOTE,
        "",
        f"{summary(kind)}.",
        "",
        "```python",
        f"from regulars.models import {kind.__name__}",
    ]
    lines += ["```", "", f"Choose it when: {when}.", ""] if when else ["```", ""]
    if name in trained_with_torch():
        lines += ["Trained with torch (`pip install 'regulars[deep]'`), served without it.", ""]
    lines += ["## What it does, and where it comes from", "", "```text", inspect.getdoc(module) or "", "```", ""]
    lines += [f"Code: [{file}](../../{file}).", "", "## What it costs", ""]
    if fit or answer:
        lines += ["| a fit | an answer |", "| --- | --- |", f"| {fit} | {answer} |", ""]
    lines += [*memory(kind), "", "## Settings", "", *settings(kind), "", "## Measured", "", *rows(name, measured)]
    return "\n".join(lines).rstrip() + "\n"


def summary(kind: type[Model]) -> str:
    """The first line of a class's docstring."""
    return (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")


def trained_with_torch() -> list[str]:
    """Models whose fit needs the extra `deep`."""
    return [name for name, path in MODELS.items() if path.startswith("deep.")]


def memory(kind: type[Model]) -> list[str]:
    """What a fit needs at most beside the data, as `estimate_mb` has it: in words, as code, and for three sizes."""
    told = " ".join((inspect.getdoc(kind.estimate_mb) or "").split())
    sizes = [f"| {users:,} | {items:,} | {cells:,} | {kind().estimate_mb((users, items), cells):,.0f} |"
             for users, items, cells in SIZES]  # fmt: skip
    return [
        f"Memory of a fit, with the default settings: {told[:1].lower()}{told[1:]}", "", "```python",
        *formula(inspect.getsource(kind.estimate_mb)), "```", "",
        "| shoppers | items | cells | MB at most |", "| --- | --- | --- | --- |", *sizes,
    ]  # fmt: skip


def formula(source: str) -> list[str]:
    """The statements of a function as they are written, without its docstring."""
    text = textwrap.dedent(source)
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return textwrap.dedent("\n".join(text.splitlines()[function.body[1].lineno - 1 :])).splitlines()


def settings(kind: type[Model]) -> list[str]:
    """Each setting with its default, what the constructor says it takes, and what it means."""
    known = inspect.signature(kind).parameters
    if not known:
        return ["It has none."]
    lines = ["| setting | default | takes | what it is |", "| --- | --- | --- | --- |"]
    for name, spec in known.items():
        lines.append(f"| `{name}` | `{spec.default!r}` | {takes(kind, name)} | {meaning(kind, name)} |")
    return lines


def takes(kind: type[Model], setting: str) -> str:
    """What the constructor wants, in its own words: it is given what no setting can be."""
    try:
        kind(**{setting: object()})
    except SettingError as error:
        return error.wanted.replace(", inf]", ", ∞)").replace("|", "\\|")
    return ""


def meaning(kind: type[Model], setting: str) -> str:
    """A setting in words: of the glossary, else the sentence of the docstrings that names it, else nothing."""
    words = WORDS.get(f"{kind.name}: {setting}") or WORDS.get(setting)
    if words:
        return words
    text = " ".join(f"{inspect.getdoc(inspect.getmodule(kind))} {inspect.getdoc(kind)}".split())
    named = [part for part in re.split(r"(?<=[.;:]) ", text) if f"`{setting}`" in part]
    return named[0].rstrip(".;:").replace("|", "\\|") if named else ""


# --- what was measured


def rows(name: str, measured: Mapping[str, Row]) -> list[str]:
    """The model's best row of each bench and subset, beside popularity, our best and the best published."""
    lines = [line for bench, result in measured.items() for line in row_of(name, bench, result)]
    if not lines:
        return ["No bench has a row of it alone yet."]
    return [
        "Its best row in each table of [benchmarks.md](../benchmarks.md), where the protocols, settings and commits",
        "stand; beside it the best of our rows (blends too) and the best published one.", "",
        "| table | metric | this model | popular | our best | best published | fit, s | MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |", *lines,
    ]  # fmt: skip


def row_of(name: str, bench: str, result: Row) -> list[str]:
    """One line a subset in which the model has a row of ours."""
    lines = []
    for subset in dict.fromkeys(row.get("subset", "all") for row in result["rows"]):
        there = [row for row in result["rows"] if row.get("subset", "all") == subset]
        metric = next(iter(metrics(there)), "")
        ours = [row for row in there if row.get("by") == "ours" and metric in row]
        mine = best([row for row in ours if row["model"].partition(":")[0] == name], metric)
        if mine is None:
            continue
        floor = best([row for row in ours if row["model"] == "popular"], metric)
        published = best([row for row in there if row.get("by") == "published"], metric)
        place = f"[{bench}]({BENCHES}#{anchor(TITLES[bench])})" + (f", {subset}" if subset != "all" else "")
        beside = (None if name == "popular" else floor, best(ours, metric) if len(ours) > 1 else None, published)
        cells = [place, metric, value(mine, metric, name), *(value(each, metric, "") for each in beside)]
        lines.append("| " + " | ".join([*cells, number(mine, "seconds"), number(mine, "peak_mb")]) + " |")
    return lines


def best(rows: Sequence[Row], metric: str) -> Row | None:
    """The best row by a metric; times are better the smaller they are."""
    known = [row for row in rows if row.get(metric) is not None]
    sign = -1 if metric.endswith("_ms") else 1
    return max(known, key=lambda row: sign * float(row[metric]), default=None)


def value(row: Row | None, metric: str, name: str) -> str:
    """A row's number, with its interval, and with its model where that is not the page's own."""
    if row is None:
        return ""
    text = plain(row[metric])
    if f"{metric}_low" in row:
        text += f" [{plain(row[f'{metric}_low'])}, {plain(row[f'{metric}_high'])}]"
    return text if row["model"] in (name, "popular") else f"{text} ({row['model']})"


def number(row: Row, key: str) -> str:
    """A cost, where the row has it."""
    return plain(row[key]) if row.get(key) is not None else ""


def anchor(title: str) -> str:
    """Where a heading of a Markdown page can be linked to."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def write(folder: Path) -> None:
    """Write all pages, and take away those of models that are gone."""
    folder.mkdir(exist_ok=True)
    fresh = pages()
    for path in folder.glob("*.md"):
        if path.name not in fresh:
            path.unlink()
    for name, text in fresh.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
