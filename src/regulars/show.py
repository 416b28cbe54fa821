"""What the command line prints: slates, profiles and the doctor's findings, for people and for programs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec

from regulars.app import App
from regulars.core.data import Dataset
from regulars.core.errors import RegularsError
from regulars.core.settings import Span, sections
from regulars.evaluate import offline
from regulars.evaluate.offline import Row
from regulars.events.ingest import ImportReport
from regulars.events.schema import Profile, Slate
from regulars.models.registry import MODELS, model_class
from regulars.profiles.catalogue import Catalogue
from regulars.profiles.describe import describe

WIDE = 24  # a value longer than this gets a line of its own


def import_json(report: ImportReport) -> Any:
    """An import's counts as plain values."""
    return msgspec.to_builtins(report, enc_hook=str)


def import_text(report: ImportReport) -> str:
    """An import's counts, and the first bad rows with what is wrong with them."""
    lines = [
        f"{report.rows:,} rows read ({', '.join(report.layouts)}): {report.accepted:,} new, "
        f"{report.duplicates:,} known already; {report.items:,} item changes, {report.users:,} shopper changes"
    ]
    lines += [f"  skipped {n:,}: {what}" for what, n in report.skipped.items()]
    lines += [f"  bad {n:,}: {why}" for why, n in report.bad.items()]
    lines += [f"    line {row.line}: {row.why}" for row in report.examples]
    lines += [f"  bad rows are kept in {path}" for path in report.quarantine]
    return "\n".join(lines)


def evaluation_text(rows: Sequence[Row]) -> str:
    """The offline table, and below it how the slate is put in order, where the rows tell."""
    return "\n\n".join([offline.for_people(rows), *(ranker_text(row["ranker"]) for row in rows if row.get("ranker"))])


def ranker_text(report: Mapping[str, Any]) -> str:
    """How candidates are put in order, what that looks at, and how true the told probabilities are."""
    order, purchases = report.get("order", {}), report.get("purchases", {})
    lines = [f"Order of the slate: {order.get('why') or report.get('why', 'not learned')}."]
    if report.get("left_out"):
        lines[0] = f"Order of the slate: the blend alone; {report['left_out']}."
    elif "trees" in order:
        lines[0] = (
            f"Order of the slate: {order['trees']} trees over the blend, {order['why']}: NDCG@20 "
            f"{order['ndcg_blend']:.4f} -> {order['ndcg_trees']:.4f} ({order['gain']:+.4f} "
            f"[{order['gain_low']:+.4f}, {order['gain_high']:+.4f}], {order['lists']:,} lists)."
        )
        lines += ["What they look at (share of the score moved, gain in the loss):"]
        whole = sum(row["shap"] for row in order["features"]) or 1.0
        lines += [f"  {row['feature']:<26} {row['shap'] / whole:6.1%}  {row['gain']:10,.0f}"
                  for row in order["features"][:12]]  # fmt: skip
    beside = report.get("beside", {})
    if "ndcg_own" in beside:
        lines.append(
            f"Slates beside an item: weights of their own, {beside['why']}: NDCG@20 {beside['ndcg_blend']:.4f} -> "
            f"{beside['ndcg_own']:.4f} ({beside['lists']:,} visits)."
        )
    if "auc" in purchases:
        lines.append(
            f"Chance of a purchase within {purchases['days']:.0f} days: log loss {purchases['logloss']:.4f} (the "
            f"mean rate alone {purchases['logloss_of_mean_rate']:.4f}), AUC {purchases['auc']:.3f}, told and true "
            f"rates {purchases['calibration_error']:.4f} apart."
        )
    return "\n".join(lines)


def slate_json(slate: Slate, user_id: str) -> Any:
    """A slate as plain values; the internal key stays inside."""
    values = msgspec.to_builtins(slate)
    return {"user_id": user_id, **{name: value for name, value in values.items() if name != "user_key"}}


def slate_text(slate: Slate, catalogue: Catalogue) -> str:
    """A slate a person can read: position, title, score, and why."""
    if not slate.items:
        return f"Nothing to show: {slate.why}"
    days = f"within {slate.probability_days:.0f} days" if slate.probability_days else ""
    lines = [
        f"Version {slate.model_version}, {slate.n_candidates} candidates, recommendation {slate.recommendation_id}"
    ]
    for each in slate.items:
        item = catalogue.get(each.item_id)
        title = item.title if item is not None and item.title else each.item_id
        lines.append(f"{each.position + 1:3}. {title}  ({each.item_id}, {each.score:.2f}, {each.source})")
        chance = "" if each.probability is None else f"  [{each.probability:.1%} chance of a purchase {days}]"
        lines.append(f"     {each.reason.text}{chance}")
    return "\n".join(lines)


def profile_json(profile: Profile, user_id: str) -> Any:
    """A profile as plain values; the internal key stays inside."""
    values = msgspec.to_builtins(profile)
    return {"user_id": user_id, **{name: value for name, value in values.items() if name != "user_key"}}


def profile_text(profile: Profile, user_id: str, app: App) -> str:
    """A profile as a person would want to read it."""
    return f"{user_id}\n" + describe(profile, app.live.catalogue, app.settings.shop).rstrip("\n")


def doctor(app: App, *, settings: bool, as_json: bool) -> Any:
    """Findings as text, or as plain values."""
    findings = examine(app)
    if settings:
        findings["settings"] = {name: asdict(getattr(app.settings, name)) for name in sections()}
        findings["settings"]["models"] = app.settings.models
    if as_json:
        return findings
    return "\n".join(_doctor_lines(app, findings, settings))


def examine(app: App) -> dict[str, Any]:
    """Count what is in the shop's folder, run the cleaning rules, and list what looks wrong."""
    dataset, report = app.cleaning().whole()
    about, damage = _served(app)
    quarantine = sorted(path.name for path in (app.home / "quarantine").glob("*.jsonl"))
    findings: dict[str, Any] = {
        "journal_offset": app.journal.last_offset,
        "shoppers": len(dataset.users), "items": len(dataset.items), "interactions": len(dataset.interactions),
        "decisions": len(app.journal.snapshot().records("decision")),
        "rules": [asdict(rule) for rule in report.rules],
        "versions": app.versions.names(), "current": app.versions.current(), "quarantine": quarantine,
        "choice": (about or {}).get("facts", {}).get("choice"),
    }  # fmt: skip
    findings["warnings"] = ([damage] if damage else []) + _warnings(app, dataset, about)
    return findings


def _served(app: App) -> tuple[dict[str, Any] | None, str]:
    """What is known of the version being served, or what is wrong with it."""
    try:
        bundle = app.bundle()
        return (app.versions.about(bundle.version), "") if bundle is not None else (None, "")
    except RegularsError as error:
        return None, f"the version being served cannot be loaded: {error}"


def _warnings(app: App, dataset: Dataset, about: dict[str, Any] | None) -> list[str]:
    found = []
    if len(dataset.interactions) == 0:
        found.append("no interactions yet: run `regulars ingest FILES`")
    elif not app.versions.current():
        found.append("no model version yet: run `regulars train`")
    if about is not None and about["settings_hash"] != app.settings.ranking_hash():
        found.append("settings changed since the version being served was trained: run `regulars train`")
    bare = sum(not title for title in dataset.items.title)
    if bare:
        found.append(f"{bare:,} of {len(dataset.items):,} items have no title: import the catalogue")
    if len(dataset.interactions) and not dataset.interactions.from_slate.any() and about is not None:
        found.append("no event names a recommendation_id: clicks are attributed by time alone")
    return found


def _doctor_lines(app: App, findings: dict[str, Any], settings: bool) -> list[str]:
    current, choice = findings["current"] or "none", findings["choice"]
    lines = [
        f"{app.settings.shop.name} in {app.home}",
        f"  journal up to {findings['journal_offset']:,}; {findings['shoppers']:,} shoppers, "
        f"{findings['items']:,} items, {findings['interactions']:,} interactions, "
        f"{findings['decisions']:,} decisions",
        f"  serving version {current}, kept: {', '.join(findings['versions']) or 'none'}",
        *([f"  models chosen by evidence: {', '.join(choice['models'])} ({choice['report']})"] if choice else []),
        f"  quarantine files: {len(findings['quarantine'])}",
        "", "Cleaning", f"  {'rule':22}{'touched':>12}{'dropped':>12}  what it does",
    ]  # fmt: skip
    lines += [f"  {r['name']:22}{r['touched']:>12,}{r['dropped']:>12,}  {r['text']}" for r in findings["rules"]]
    lines += ["", "Warnings" if findings["warnings"] else "Nothing looks wrong."]
    lines += [f"  {warning}" for warning in findings["warnings"]]
    if settings:
        lines += ["", *settings_lines(app)]
    return lines


def settings_lines(app: App) -> list[str]:
    """Every setting with its value and what it is for."""
    lines = []
    for name, kind in sections().items():
        lines.append(f"[{name}]")
        part = getattr(app.settings, name)
        for spec in fields(kind):
            value = written(getattr(part, spec.name))
            if len(value) > WIDE:
                lines += [f"  {spec.name:18} {spec.metadata['help']}:", f"  {'':18}   {value}"]
            else:
                lines.append(f"  {spec.name:18} {value:{WIDE}} {spec.metadata['help']}")
    for name, values in app.settings.models.items():
        lines += [f"[models.{name}]", *(f"  {key:18} {written(value)}" for key, value in values.items())]
    return lines


def written(value: Any) -> str:
    """A setting's value as it stands in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {number:g}" for key, number in value.items()) + " }" if value else "{}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(written(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value!r}"' if isinstance(value, Span) else json.dumps(value, ensure_ascii=False)


def settings_reference() -> str:
    """`docs/settings.md`: every setting with its default, what it takes and what it is for."""
    lines = [
        "# Settings", "",
        "One file, `regulars.toml` in the shop's folder; then environment variables (`REGULARS_RANK_LIMIT=12` sets",
        "`[rank] limit`); then flags. A key that does not exist or a value out of range is an error that names the",
        "file, the key and the nearest right name. Durations are texts such as `\"30m\"`, `\"7d\"` or `\"2w\"`.", "",
        "Written from the schema in `src/regulars/core/settings.py` by `make docs`; a test fails when it is stale.",
    ]  # fmt: skip
    for name, kind in sections().items():
        title = (kind.__doc__ or "").partition(": ")[2].rstrip(".")
        lines += ["", f"## [{name}]", "", f"{title[:1].upper()}{title[1:]}.", ""]
        lines += ["| key | default | takes | what it is |", "| --- | --- | --- | --- |"]
        for spec in fields(kind):
            default, text = getattr(kind(), spec.name), spec.metadata["help"]
            lines.append(f"| `{spec.name}` | `{written(default)}` | {_takes(spec.metadata, default)} | {text} |")
    return "\n".join([*lines, *_models_reference()]) + "\n"


def _models_reference() -> list[str]:
    """What each model can be made with, and what it says of itself."""
    lines = [
        "", "## [models.NAME]", "", "What a model of `[train] models` is made with; the rest keeps its default.",
        "In the environment: `REGULARS_MODELS_ALS='{ factors = 128 }'`.", "",
        "| model | what it is | settings |", "| --- | --- | --- |",
    ]  # fmt: skip
    for name in MODELS:
        kind = model_class(name)
        given = [f"`{key} = {written(spec.default)}`" for key, spec in inspect.signature(kind).parameters.items()]
        told = (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")
        lines.append(f"| `{name}` | {told} | {', '.join(given)} |")
    return lines


def _takes(metadata: Mapping[str, Any], default: Any) -> str:
    if metadata["options"]:
        return ", ".join(f"`{option}`" for option in metadata["options"])
    low, high = (None if metadata[end] is None else f"{metadata[end]:g}" for end in ("low", "high"))
    if low is not None:
        return f"{low} to {high}" if high is not None else f"at least {low}"
    kinds = {Span: "duration", bool: "`true`, `false`", dict: "table of numbers", tuple: "list of names"}
    return kinds.get(type(default), "text")
