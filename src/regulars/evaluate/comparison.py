"""Models side by side on any log: one split, full rankings, a table with intervals.

compare("ratings.csv", ["als", "sasrec"])     a file, a frame or a Dataset in, a `Comparison` out
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from regulars.core.clock import format_instant
from regulars.core.data import DISLIKE, Dataset
from regulars.core.errors import InputError, RegularsError, SettingError
from regulars.core.rng import generator
from regulars.evaluate import offline
from regulars.evaluate.offline import FLOOR, Row, model_ranker
from regulars.evaluate.split import (
    Split,
    Targets,
    answerable,
    last_share,
    leave_one_out,
    random_share,
    targets_of,
)
from regulars.frames import read
from regulars.models.base import Model
from regulars.models.registry import check_models, make_model

SPLITS = ("time", "last", "random")
USUAL = (FLOOR, "item-knn", "ease", "als")  # what is compared when nobody says what
Say = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """Rows of the offline table, the best model of a subset first, and how they came about."""

    rows: list[Row]
    k: int
    question: str  # what was learned from, and what was asked
    left_out: Mapping[str, str]  # model -> why
    about: str = ""  # what was read, and what could not be
    data: Mapping[str, Any] = field(default_factory=dict)  # the same as plain values

    def to_frame(self) -> Any:
        """The rows as an Arrow table, which every library of frames takes (`.to_pandas()`)."""
        import pyarrow as pa

        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        return pa.table({name: pa.array([row.get(name) for row in self.rows]) for name in columns})

    def to_markdown(self) -> str:
        """What was asked, and the table, as one reads it."""
        parts = [*([self.about] if self.about else []), self.question, offline.for_people(self.rows, self.k)]
        if len(subsets := {row["subset"] for row in self.rows}) > 1 or "new" in subsets:
            parts.append("new: items the shopper never had; those they had are not recommended."
                         + (" all: anything may be." if "all" in subsets else ""))  # fmt: skip
        parts += [f"Left out {name}: {why}" for name, why in self.left_out.items()]
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "data": dict(self.data), "question": self.question, "k": self.k, "left_out": dict(self.left_out),
            "rows": self.rows,
        }  # fmt: skip

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.to_markdown()


def compare(
    data: Any, models: Sequence[str] = USUAL, *, split: str = "time", share: float = 0.1, k: int = 20,
    settings: Mapping[str, Mapping[str, Any]] | None = None, seed: int = 0, say: Say | None = None,
) -> Comparison:  # fmt: skip
    """Fit models on one part of a log, and rank all items for the shoppers of the other.

    `data` is a Dataset, or what `regulars.frames.dataset_of` takes. `split`: "time", a cut that leaves `share` of
    the rows after it; "last", each shopper's last row; "random", `share` of the rows. Only "time" never learns from
    a later day than it is asked about. `settings` are those of each model (`{"als": {"factors": 128}}`). Popularity
    is always there as the floor. Shoppers and items that are met only after the cut are not asked for. A model that
    cannot be fitted is left out with the reason. Unknown names are `SettingError`s, a log that leaves nothing to
    ask an `InputError`.
    """
    names = list(dict.fromkeys((FLOOR, *models)))
    _check(names, split, share, k, settings or {})
    if not isinstance(data, Dataset):
        dataset, reading = read(data)
        reading.warn()
        found = compare(dataset, models, split=split, share=share, k=k, settings=settings, seed=seed, say=say)
        return replace(found, about=reading.about(dataset), data=reading.to_json(dataset))
    before, asked, question = _asked(data, split, share, seed)
    rankers, seconds, left_out = {}, {}, {}
    for name in names:
        (say or _silent)(f"Fitting {name}")
        start = time.perf_counter()
        try:
            model = _fitted(name, (settings or {}).get(name, {}), before, seed)
        except RegularsError as error:
            left_out[name] = str(error)
            continue
        seconds[name] = round(time.perf_counter() - start, 2)
        rankers[name] = model_ranker(model, before, before.as_of, k)
    if not rankers:
        raise InputError("compare", got="; ".join(left_out.values()), wanted="one model that can be fitted")
    (say or _silent)(f"Ranking for {len(asked.subsets['new'].users):,} shoppers")
    subsets = ["new"] if _nothing_again(asked) else ["all", "new"]
    rows = offline.table(rankers, asked, subsets, k=k, rng=generator(seed, "bootstrap"))
    rows.sort(key=lambda row: (subsets.index(row["subset"]), -row[f"ndcg@{k}"]))
    return Comparison([row | {"seconds": seconds[row["model"]]} for row in rows], k, question, left_out)


def compare_file(
    file: Path, models: Sequence[str], settings: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Any],
    options: Mapping[str, Any], say: Say,
) -> Comparison:  # fmt: skip
    """`compare` on a file whose columns are named as in `dataset_of`; bad rows are told in the report alone."""
    names = list(dict.fromkeys((FLOOR, *models)))
    _check(names, options.get("split", "time"), options.get("share", 0.1), options.get("k", 20), settings)
    say(f"Reading {file}")
    data, reading = read(file, **columns)
    found = compare(data, models, settings=settings, say=say, **options)
    return replace(found, about=reading.about(data), data=reading.to_json(data))


def _silent(text: str) -> None:
    """What says nothing."""


def _check(names: Sequence[str], split: str, share: float, k: int, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what cannot be meant before anything is read."""
    if split not in SPLITS:
        raise SettingError("split", got=repr(split), wanted=f"one of {', '.join(SPLITS)}")
    if not 0 < share < 1:
        raise SettingError("share", got=repr(share), wanted="a number between 0 and 1")
    if k < 1:
        raise SettingError("k", got=repr(k), wanted="a whole number from 1")
    check_models(names, settings)
    unused = [name for name in settings if name not in names]
    if unused:
        raise SettingError(
            "settings", got=f"those of {unused[0]!r}", wanted=f"a model that is compared: {', '.join(names)}"
        )


def _fitted(name: str, params: Mapping[str, Any], data: Dataset, seed: int) -> Model:
    model = make_model(name, params)
    need, there = model.estimate_mb(data.shape, len(data.interactions)), memory_mb()
    if need > there:
        raise InputError(name, got=f"about {need:,.0f} MB", wanted=f"at most {there:,.0f}, which this machine has")
    return model.fit(data, generator(seed, "fit", name))


def memory_mb() -> float:
    """Memory of this machine in megabytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6


def _asked(data: Dataset, split: str, share: float, seed: int) -> tuple[Dataset, Targets, str]:
    """What is learned from, what is asked, and both in words; rows without weight tell no liking: never asked."""
    rows = data.interactions
    if data.shape[0] < 2:
        raise InputError("compare", got=f"{data.shape[0]} shopper", wanted="at least 2, to learn from each other")
    if split == "time" and rows.at.min() == rows.at.max():
        raise InputError("split 'time'", got="rows without times, or all of one instant", wanted="a column of times",
                         remedy="Name it (--time COLUMN, dataset_of(time=...)), or take another split: "
                                "last or random.")  # fmt: skip
    signs = replace(data, interactions=replace(rows, kind=np.where(rows.weight > 0, rows.kind, DISLIKE)))
    cut = {"time": lambda: last_share(signs, share), "last": lambda: leave_one_out(signs),
           "random": lambda: random_share(signs, share, generator(seed, "split"))}[split]()  # fmt: skip
    before = cut.training(data)
    relevant = answerable(cut.relevant, before)
    if not relevant.nnz:
        raise InputError(f"split {split!r}", got="nobody with rows on both sides, of items known by then",
                         wanted="shoppers to ask", remedy="Take another split, or a larger share.")  # fmt: skip
    return before, targets_of(relevant, before), _words(data, before, cut, relevant, split)


def _nothing_again(asked: Targets) -> bool:
    """Whether nobody took anything twice, so that what they had need not be ranked."""
    return bool(asked.subsets["new"].relevant.nnz == asked.subsets["all"].relevant.nnz)


def _words(data: Dataset, before: Dataset, cut: Split, relevant: Any, split: str) -> str:
    shoppers, cells = int((np.diff(relevant.indptr) > 0).sum()), int(relevant.nnz)
    times = {
        "time": f"those up to {format_instant(before.as_of)}",
        "last": "all but the last of each shopper",
        "random": "drawn at random",
    }
    text = (f"Learned from {len(before.interactions):,} of {len(data.interactions):,} rows ({times[split]}); "
            f"asked what {shoppers:,} shoppers took in the others, {cells:,} items in all.")  # fmt: skip
    everything, known = int(cut.relevant.nnz), np.bincount(before.interactions.user_idx, minlength=data.shape[0]) > 0
    strangers = int(((np.diff(cut.relevant.indptr) > 0) & ~known).sum())
    if everything > cells:
        text += f" Not asked: {everything - cells:,} items that were new" + (
            f", or taken by one of {strangers:,} new shoppers." if strangers else ".")  # fmt: skip
    return text
