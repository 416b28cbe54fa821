"""What the command line prints: slates, profiles and the doctor's findings, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import msgspec

from regulars.app import App
from regulars.core.data import Dataset
from regulars.core.settings import sections
from regulars.events.ingest import ImportReport
from regulars.events.schema import Profile, Slate
from regulars.profiles.catalogue import Catalogue
from regulars.profiles.describe import describe


def import_json(report: ImportReport) -> Any:
    """An import's counts as plain values."""
    return msgspec.to_builtins(report, enc_hook=str)


def import_text(report: ImportReport) -> str:
    """An import's counts, and the first bad rows with what is wrong with them."""
    lines = [
        f"{report.rows:,} rows read ({', '.join(report.layouts)}): {report.accepted:,} events accepted, "
        f"{report.duplicates:,} known already, {report.items:,} item changes, {report.users:,} shopper changes"
    ]
    lines += [f"  skipped {n:,}: {what}" for what, n in report.skipped.items()]
    lines += [f"  bad {n:,}: {why}" for why, n in report.bad.items()]
    lines += [f"    line {row.line}: {'; '.join(row.why)}" for row in report.examples]
    lines += [f"  bad rows are kept in {path}" for path in report.quarantine]
    return "\n".join(lines)


def slate_json(slate: Slate) -> Any:
    """A slate as plain values."""
    return msgspec.to_builtins(slate)


def slate_text(slate: Slate, catalogue: Catalogue) -> str:
    """A slate a person can read: position, title, score, and why."""
    if not slate.items:
        return f"Nothing to show: {slate.why}"
    lines = [
        f"Version {slate.model_version}, {slate.n_candidates} candidates, recommendation {slate.recommendation_id}"
    ]
    for each in slate.items:
        item = catalogue.get(each.item_id)
        title = item.title if item is not None and item.title else each.item_id
        lines.append(f"{each.position + 1:3}. {title}  ({each.item_id}, {each.score:.2f}, {each.source})")
        lines.append(f"     {each.reason.text}")
    return "\n".join(lines)


def profile_json(profile: Profile, user_id: str) -> Any:
    """A profile as plain values; the internal key stays inside."""
    values = msgspec.to_builtins(profile)
    return {"user_id": user_id, **{name: value for name, value in values.items() if name != "user_key"}}


def profile_text(profile: Profile, user_id: str, app: App) -> str:
    """A profile as a person would want to read it."""
    titles = {}
    for habit in profile.habits:
        item = app.live.catalogue.get(habit.item_id)
        titles[habit.item_id] = item.title if item is not None and item.title else habit.item_id
    return describe(profile, user_id, currency=app.settings.shop.currency, titles=titles)


def doctor(app: App, *, settings: bool, as_json: bool) -> Any:
    """Findings as text, or as plain values."""
    findings = examine(app)
    if settings:
        findings["settings"] = {name: asdict(getattr(app.settings, name)) for name in sections()}
    if as_json:
        return findings
    return "\n".join(_doctor_lines(app, findings, settings))


def examine(app: App) -> dict[str, Any]:
    """Count what is in the shop's folder, run the cleaning rules, and list what looks wrong."""
    dataset, report = app.cleaning().dataset()
    about = app.versions.about(app.versions.current()) if app.versions.current() else None
    quarantine = sorted(path.name for path in (app.home / "quarantine").glob("*.jsonl"))
    findings: dict[str, Any] = {
        "journal_offset": app.journal.last_offset,
        "shoppers": len(dataset.users), "items": len(dataset.items), "interactions": len(dataset.interactions),
        "decisions": len(app.journal.snapshot().records("decision")),
        "rules": [asdict(rule) for rule in report.rules],
        "versions": app.versions.names(), "current": app.versions.current(), "quarantine": quarantine,
    }  # fmt: skip
    findings["warnings"] = _warnings(app, dataset, about)
    return findings


def _warnings(app: App, dataset: Dataset, about: dict[str, Any] | None) -> list[str]:
    found = []
    if len(dataset.interactions) == 0:
        found.append("no interactions yet: run `regulars ingest FILES`")
    elif about is None:
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
    current = findings["current"] or "none"
    lines = [
        f"{app.settings.shop.name} in {app.home}",
        f"  journal up to {findings['journal_offset']:,}; {findings['shoppers']:,} shoppers, {findings['items']:,} items, "
        f"{findings['interactions']:,} interactions, {findings['decisions']:,} decisions",
        f"  serving version {current}, kept: {', '.join(findings['versions']) or 'none'}",
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
            lines.append(f"  {spec.name:18} {getattr(part, spec.name)!r:24} {spec.metadata['help']}")
    return lines
