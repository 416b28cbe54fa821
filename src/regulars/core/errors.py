"""One tree of errors; each says where it happened, what was got, what was wanted, and what to do."""

from __future__ import annotations

from typing import ClassVar


class RegularsError(Exception):
    """Base of every error that Regulars raises on purpose.

    `where` names the file, argument or route; `remedy` is the command or change that helps.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, where: str, *, got: str = "", wanted: str = "", remedy: str = "") -> None:
        self.where, self.got, self.wanted, self.remedy = where, got, wanted, remedy
        super().__init__(where)

    def __str__(self) -> str:
        parts = [self.where]
        if self.got:
            parts.append(f"got {self.got}")
        if self.wanted:
            parts.append(f"wanted {self.wanted}")
        text = parts[0] + (": " + ", ".join(parts[1:]) if len(parts) > 1 else "")
        return text + (f". {self.remedy}" if self.remedy else "")


class InputError(RegularsError, ValueError):
    """Data, an argument or a request that cannot be used."""


class SettingError(RegularsError, ValueError):
    """A setting that is unknown or out of range."""

    exit_code = 2


class WrongUse(RegularsError):
    """A command called in a way that cannot work."""

    exit_code = 2


class StorageError(RegularsError):
    """The journal, the lake or a saved file cannot be read or written."""


class ModelError(RegularsError):
    """A saved model that is damaged, foreign or too old."""


class NotFitted(RegularsError):
    """A model asked for scores before `fit`."""


class Unsupported(RegularsError):
    """An ability the model does not declare in `can`."""


class TrainingError(RegularsError):
    """A training that cannot begin or go on."""


class RowsLeftOut(UserWarning):
    """Rows of a table that could not be used; the others were."""
