"""What a search chose, as a version keeps it: later trainings repeat it for as long as the shop's own words stand."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from regulars.choose.space import Candidate, Params
from regulars.core.errors import ModelError
from regulars.core.settings import Settings
from regulars.rank.versions import Versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Models with their settings, and what the shop's own settings said when they were chosen."""

    models: Mapping[str, Params]  # in their order
    asked: Mapping[str, Any]  # `[train] models` and `[models]` as the shop had written them
    report: str = ""  # name of the report in the shop's folder

    @classmethod
    def of(cls, chosen: Sequence[Candidate], settings: Settings, report: str = "") -> Self:
        """The choice of these settings' shop."""
        return cls({each.model: each.params for each in chosen}, _own(settings), report)

    def applies(self, settings: Settings) -> bool:
        """Whether the shop's own `[train] models` and `[models]` are still as they were: what is written wins."""
        return _plain(self.asked) == _plain(_own(settings))

    def applied(self, settings: Settings) -> Settings:
        """The settings with what was chosen."""
        train = replace(settings.train, models=tuple(self.models))
        given = {name: dict(params) for name, params in self.models.items() if params}
        return replace(settings, train=train, models={**settings.models, **given})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"models": {name: dict(params) for name, params in self.models.items()}, "asked": dict(self.asked),
                "report": self.report}  # fmt: skip

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        try:
            return cls(dict(values["models"]), dict(values["asked"]), str(values["report"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("choice", got=str(error), wanted="the values of a saved choice") from error


def live_facts(versions: Versions) -> Mapping[str, Any] | None:
    """What the version that serves knows of itself; None where there is none, or where it cannot be read."""
    name = versions.current()
    try:
        facts: Mapping[str, Any] | None = versions.about(name)["facts"] if name else None
    except ModelError as error:
        log.warning("the live version cannot be read: %s", error)
        return None
    return facts


def last_choice(versions: Versions, settings: Settings) -> Choice | None:
    """What was chosen for the version that serves, as long as the shop's own settings are what they were then."""
    saved = (live_facts(versions) or {}).get("choice")
    choice = None if saved is None else Choice.from_json(saved)
    if choice is not None and not choice.applies(settings):
        log.warning("[train] models or [models] changed since models were chosen: they hold, and the choice is gone")
        return None
    return choice


def _own(settings: Settings) -> dict[str, Any]:
    return {"train": list(settings.train.models), "models": {name: dict(p) for name, p in settings.models.items()}}


def _plain(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
