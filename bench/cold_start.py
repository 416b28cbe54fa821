"""Cold start: what new shoppers and new items get, against how many events of them are known (0, 1, 2, 5, 10).

Full rankings, known items masked, k 10. A subset is SET/EVENTS:

- `ml1m`, `lastfm`: events of the shopper. Shoppers are drawn by SEED into 60 % to learn from, 20 % to choose
  settings and blends, 20 % to test; nothing of the latter two is learned. Of `ml1m`'s shoppers, whose films have an
  order, the first n are known, and films 11 to 20 wanted for every n; they tell gender, age, occupation and region
  (the first digit of the postcode). Of `lastfm`'s, whose artists have none, n drawn by seed are known, and all but
  the ten that may be are wanted for every n; of friends, the histories of those to learn from are known.
- `office`: events of the item. Learned are the distinct items of each shopper's rows of `valid`, histories and
  targets; a case is a row of `test` whose target is not in its history. Its number is of shoppers who took the
  target there: 0, 1, 2, 3-5 (called 5), 6-10 (called 10), or any (`all`). No event is taken away: only 184 items
  have ten, so to thin them would make the best sold ones cold, and take an eighth of a small log. Settings and
  blend are chosen on the last item of each shopper of `valid`, with the others learned, so by the same bands.

`blend` is the product's own: `rank.candidates.gather` over the models, weights by `rank.blend.fit_blend`. For a
number of a shopper's events it has weights of their own. Which item will be wanted is not known, so `office` has
one blend for all cases, in which a model's weight depends on the events of the item that it speaks of. Where the
two halves of the validation part, each ranked by weights that the other taught, are not better than popularity,
`popular` alone stands in for it: it is below popularity by chance of the test part alone. `vs_popular` is the
difference in ndcg@10 to `popular`, with its interval by the bootstrap over shoppers or cases.

`questions` asks a new shopper of `ml1m` about 5 or 10 films that `rank.questions` chooses, `ask-popular` about the
most popular, `ask-random` about some drawn by seed, `ask-nothing` about none. Yes is whatever the shopper took, but
for the films wanted; `rlfm` answers with the yes, and with what the shopper tells. Here all that the shopper would
say yes to is masked, asked or not: otherwise a yes would say what is not wanted, and asking about popular films
would clear the top of the list.

With `--seeds` the models and the blend are fitted with so many seeds; who is asked and what is known stay as drawn
by SEED. `vs_*` is then of each shopper's mean over the seeds, and `*@10_low` and `*@10_high` the seeds' own extremes.

`--preset validation` repeats the search over GRID on the validation part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cold_trials import ALL, Trial, padded, trial_of
from measure import Row, across_seeds, apart, chosen, clocked, peak_mb
from parts import RANDOM, Settings
from regulars.core.arrays import Floats, Indices, Matrix
from regulars.core.bootstrap import paired
from regulars.core.data import Dataset, Histories
from regulars.core.topk import top_k
from regulars.evaluate.metrics import hit_rate, judge, ndcg
from regulars.models.base import Model
from regulars.models.registry import make_model
from regulars.rank.blend import Blend, fit_blend
from regulars.rank.candidates import Candidates, gather
from regulars.rank.questions import questions
from regulars.rank.retrieve import Retriever, retrievers

K = 10
METRICS = [f"hr@{K}", f"ndcg@{K}"]
CANDIDATES = 100  # of each model, as in the product
ASKED = (5, 10)
ASKING = ("questions", "ask-popular", "ask-random", "ask-nothing")
SEED = 0
PROTOCOL = (
    "full ranking, known items masked, k 10; SET/EVENTS: events known of the shopper (ml1m: the first n, films 11 to "
    "20 wanted; lastfm: n drawn, all but ten wanted; 60 % of shoppers learned, 20 % to choose, 20 % tested) or of "
    "the item wanted (office: shoppers who took it, 5 = 3 to 5, 10 = 6 to 10); vs_popular: difference in ndcg@10, "
    "95 % by paired bootstrap; questions and ask-*: EVENTS films asked about, all but those wanted masked"
)
# Found on the validation part, by the mean of ndcg@10 over the numbers of events. ml1m: segment-popular .0761
# (strength .5 .0751, 1 .0723; shrink hardly matters), rlfm .0887 (alpha 2 the same, 4 .0855; pull .003 .0811, .03
# .0797). lastfm: friends .3584 with its own choice of the weight, .3246 with popularity_power .1; rlfm .3568 (alpha
# 16 .3525, 1 .3274; pull .01 .2901). office: content .0634 (brand .25 .0631), rlfm .0558 (exposure 5 and ridge .1
# .0547, exposure 50 .0391; pull .001 .0495; alpha 100 .0477; with alpha 10 and pull .03 the regression falls to 0).
# Questions, the mean over 5 and 10: .1422, with the items' Gram for the spread .1407, about popular films .1400.
SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "ml1m": {
        "popular": {}, "segment-popular": {"shrink": 1000.0, "strength": 0.75}, "rlfm": {"alpha": 1.0, "pull": 0.01},
        "item-knn": {"k": 50, "shrink": 0.0, "user_power": 0.3}, "als": {}, "ease": {}, "co-occurrence": {},
    },
    "lastfm": {
        "popular": {}, "friends": {"power": 1.0}, "rlfm": {"alpha": 4.0, "pull": 0.003}, "item-knn": {}, "als": {},
    },
    "office": {
        "popular": {}, "random": {}, "content": {"brand": 0.1}, "item-knn": {}, "als": {}, "ease": {},
        "rlfm": {"alpha": 30.0, "pull": 0.003, "ridge": 0.01, "exposure": 10.0},
    },
}  # fmt: skip
NOT_BLENDED = ("random",)
GRID: Mapping[str, Mapping[str, Sequence[Settings]]] = {
    "ml1m": {
        "segment-popular": [{"shrink": shrink, "strength": strength} for shrink in (300.0, 1000.0, 3000.0)
                            for strength in (0.5, 0.75, 1.0)],
        "rlfm": [{"alpha": alpha, "pull": pull} for alpha in (1.0, 2.0, 4.0) for pull in (0.003, 0.01, 0.03)],
    },
    "lastfm": {
        "friends": [{"power": power, "popularity_power": popular, "goes_with": weight} for power in (0.5, 1.0)
                    for popular in (0.0, 0.1) for weight in (None, 0.0, 0.1, 1.0)],
        "rlfm": [{"alpha": alpha, "pull": pull} for alpha in (1.0, 4.0, 16.0) for pull in (0.003, 0.01, 0.03)],
    },
    "office": {
        "content": [{"price": price, "brand": brand} for price in (0.15,) for brand in (0.1, 0.25, 0.5)],
        "rlfm": [{"alpha": alpha, "pull": pull, "ridge": ridge, "exposure": exposure} for alpha in (10.0, 30.0, 100.0)
                 for pull in (0.001, 0.003, 0.01) for ridge in (0.01, 0.1) for exposure in (5.0, 10.0)],
    },
}  # fmt: skip
Judged = NDArray[np.float64]  # (2, n): hr@10 and ndcg@10 of each shopper or case
Fits = Mapping[str, tuple[Model, Row]]


def run(data: Path, models: Sequence[str] | None = None, seeds: int = 1, preset: str = "test") -> Row:
    """A row a model and subset; with `preset` validation one for each settings of GRID and set."""
    known = dict.fromkeys(each for settings in SETTINGS.values() for each in settings)
    names = chosen(models, [*known, "blend", *ASKING])
    if preset == "validation":
        rows = [row for name in GRID for row in apart(search, data, name, names)["rows"]]
        return {"protocol": f"{PROTOCOL}; here the validation part", "rows": rows}
    rows = []
    for name in SETTINGS:
        runs = [apart(measure, data, name, names, seed)["rows"] for seed in range(seeds)]
        rows += [over_seeds(same) for same in zip(*runs, strict=True)]
    return {"protocol": PROTOCOL, "rows": rows}


def over_seeds(rows: Sequence[Row]) -> Row:
    """One row out of one for each seed, with differences to others of each shopper's mean over the seeds.

    Their `by_shopper` holds its own Judged under no name, and under their names those that it is compared to.
    """
    drawn = rows if rows[0]["model"] in RANDOM | {"blend", *ASKING} else rows[:1]
    by_shopper = [row["by_shopper"] for row in drawn]
    whole = across_seeds([{**row, **means(row["by_shopper"][""])} for row in drawn], METRICS)
    mine, *others = (np.mean([each[name] for each in by_shopper], axis=0) for name in by_shopper[0])
    for name, other in zip(list(by_shopper[0])[1:], others, strict=True):
        whole |= difference(mine, other, name)
    del whole["by_shopper"]
    if whole["model"] == "blend":
        alone = sum(not row["settings"] for row in drawn)
        events = whole["subset"].partition("/")[2]
        if alone:
            whole["note"] = f"{events} events: popular alone in {alone} of {len(drawn)} seeds"
        elif whole["vs_popular_low"] <= 0:
            whole["note"] = f"{events} events: no more than equal to popular, the interval of the difference holds 0"
    return whole


def search(data: Path, name: str, names: Sequence[str]) -> Row:
    """NDCG of each settings of GRID on the validation part."""
    trial, rows = trial_of(data, name, "validation", SEED), []
    for model, settings in [(each, settings) for each in names for settings in GRID[name].get(each, ())]:
        row: Row = {"model": model, "by": "ours", "subset": name, "settings": settings}
        with clocked(row):
            fitted = make_model(model, settings).fit(trial.before, np.random.default_rng(SEED))
        for events, asked in trial.asked.items():
            found = judged(best(fitted, asked, trial.before.as_of), trial.wanted[events])[1]
            row[f"ndcg@{K}/{'all' if events == ALL else events}"] = round(float(found.mean()), 4)
        rows.append(row)
    return {"rows": rows}


def measure(data: Path, name: str, names: Sequence[str], seed: int) -> Row:
    """Every model and the blend of one set, by number of events; `by_shopper` holds what `over_seeds` compares."""
    choosing, testing = (trial_of(data, name, part, SEED) for part in ("validation", "test"))
    fits = fitted(name, testing.before, names, seed)
    before = fits
    if "blend" in names and ALL in testing.asked:  # elsewhere both parts learn from the same
        before = fitted(name, choosing.before, names, seed)
    rows: list[Row] = []
    for events, asked in testing.asked.items():
        about: Row = {"by": "ours", "subset": f"{name}/{'all' if events == ALL else events}", "users": len(asked)}
        found = {each: judged(best(model, asked, testing.before.as_of), testing.wanted[events])
                 for each, (model, _) in fits.items()}  # fmt: skip
        here = [{"model": each, "by_shopper": {"": found[each], "popular": found["popular"]}, **fits[each][1]}
                for each in found]  # fmt: skip
        if "blend" in names:
            blend = taught(choosing, before, ALL if ALL in choosing.asked else events, seed)
            here.append(blended(blend, testing, fits, events, found["popular"]))
        rows += [{**about, **row} for row in here]
    if name == "ml1m":
        rows += asking(testing, fits, names)
    return {"rows": [{**row, "threads": 1, "peak_mb": peak_mb()} for row in rows if row["model"] in names]}


def fitted(name: str, before: Dataset, names: Sequence[str], seed: int) -> Fits:
    """The models of a set that are needed, with what each fit took."""
    tiny = Dataset.from_events([0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 2, 3], (2, 4), at=[1, 2, 3, 4, 5, 6])
    needed = [each for each in SETTINGS[name] if each in (*names, "popular") or "blend" in names
              or (each == "rlfm" and set(ASKING) & set(names))]  # fmt: skip
    fits: dict[str, tuple[Model, Row]] = {}
    for each in needed:
        settings = SETTINGS[name][each]
        make_model(each, settings).fit(tiny).score(tiny.histories(), 7)  # compiles
        spent: Row = {}
        with clocked(spent):
            model = make_model(each, settings).fit(before, np.random.default_rng(seed))
        fits[each] = model, {**spent, "settings": model.get_params()}
    return fits


def best(model: Model, asked: Histories, now: int, masked: Matrix | None = None) -> Indices:
    """The first K of all items but those known, or but those `masked`."""
    shut = padded(asked.user_items if masked is None else masked)
    top = np.empty((len(asked), K), dtype=np.int32)
    for start in range(0, len(asked), 256):
        part = asked.rows(start, min(start + 256, len(asked)))
        top[start : start + len(part)], _ = top_k(model.score(part, now), K, banned=shut[start : start + len(part)])
    return top


def judged(top: Indices, wanted: Matrix) -> Judged:
    """Hit rate and NDCG of each row."""
    found = judge(top, wanted)
    return np.array([hit_rate(found, K), ndcg(found, K)])


def means(found: Judged) -> Row:
    """HR and NDCG over all."""
    return dict(zip(METRICS, found.mean(axis=1).round(4).tolist(), strict=True))


def difference(found: Judged, other: Judged, name: str) -> Row:
    """The mean difference in NDCG to another with its interval."""
    apart_by = paired(found[1], other[1], np.random.default_rng(SEED))
    return {f"vs_{name}": round(apart_by.mean, 4), f"vs_{name}_low": round(apart_by.low, 4),
            f"vs_{name}_high": round(apart_by.high, 4)}  # fmt: skip


# ---- the blend -------------------------------------------------------------------------------------------------


def taught(trial: Trial, fits: Fits, events: int, seed: int) -> Blend | None:
    """The weights that a validation part teaches; None where they are no better than popularity there."""
    found = candidates(trial, fits, events)
    wanted = trial.wanted[events]
    wish = wishes(found, wanted)
    names = [f"{name}/{group}" for group in range(int(trial.groups.max()) + 1) for name in sources(fits)]
    halves = np.arange(len(found)) % 2
    top = np.empty((len(found), K), dtype=np.int32)
    for half in (0, 1):
        there, here = np.flatnonzero(halves != half), np.flatnonzero(halves == half)
        blend = fit_blend(names, rows_of(found, there), wish[there], np.random.default_rng(seed))
        top[here] = first(blend, rows_of(found, here))
    floor = judged(best(fits["popular"][0], trial.asked[events], trial.before.as_of), wanted)[1]
    if judged(top, wanted)[1].mean() <= floor.mean():
        return None
    return fit_blend(names, found, wish, np.random.default_rng(seed))


def blended(blend: Blend | None, trial: Trial, fits: Fits, events: int, popular: Judged) -> Row:
    """The row of the blend; without one it is that of `popular`."""
    top = best(fits["popular"][0], trial.asked[events], trial.before.as_of)
    if blend is not None:
        top = first(blend, candidates(trial, fits, events))
    row: Row = {"model": "blend", "by_shopper": {"": judged(top, trial.wanted[events]), "popular": popular}}
    row |= {key: round(sum(spent[key] for _, spent in fits.values()), 2) for key in ("seconds", "cpu_seconds")}
    if blend is None:
        return {**row, "settings": {}}
    row["settings"] = {
        name: weights.astype(np.float64).round(2).tolist()
        for name, weights in zip(blend.sources, blend.weights[0].reshape(-1, 2), strict=True)
    }
    return row


def sources(fits: Fits) -> dict[str, Retriever]:
    """The models that enter a blend."""
    return retrievers({name: model for name, (model, _) in fits.items() if name not in NOT_BLENDED})


def candidates(trial: Trial, fits: Fits, events: int) -> Candidates:
    """What the models bring; what they say stands in columns of the group of the item it is said of."""
    asked, n_items = trial.asked[events], len(trial.before.items)
    found = gather(
        sources(fits), asked, trial.before.as_of, np.ones(n_items, dtype=np.bool_), padded(asked.user_items),
        np.full(n_items, np.inf, dtype=np.float32), CANDIDATES,
    )  # fmt: skip
    group = trial.groups[np.maximum(found.item_idx, 0)]
    apart_by = [found.says * (group == each)[:, :, None] for each in range(int(trial.groups.max()) + 1)]
    return replace(found, says=np.concatenate(apart_by, axis=2))


def wishes(found: Candidates, wanted: Matrix) -> Floats:
    """Which candidates were wanted, as shares of all that was."""
    dense = wanted.toarray()
    wish = np.take_along_axis(dense, np.maximum(found.item_idx, 0).astype(np.intp), axis=1)
    return np.asarray(np.where(found.item_idx >= 0, wish, 0) / dense.sum(axis=1, keepdims=True), dtype=np.float32)


def rows_of(found: Candidates, rows: NDArray[np.intp]) -> Candidates:
    """Some of the requests."""
    return Candidates(**{name: getattr(found, name)[rows] for name in Candidates.__dataclass_fields__})


def first(blend: Blend, found: Candidates) -> Indices:
    """The K candidates that a blend puts first."""
    place, _ = top_k(blend.logits(found), K)
    items = np.take_along_axis(found.item_idx, np.maximum(place, 0).astype(np.intp), axis=1)
    return np.where(place >= 0, items, -1).astype(np.int32)


# ---- questions -------------------------------------------------------------------------------------------------


def asking(trial: Trial, fits: Fits, names: Sequence[str]) -> list[Row]:
    """The ways to choose what a new shopper is asked about."""
    if trial.answers is None or not set(names) & set(ASKING):
        return []
    model, spent = fits["rlfm"]
    shares = np.bincount(trial.before.user_items.indices, minlength=len(trial.before.items)) / len(trial.before.users)
    popular, rows = np.argsort(-shares, kind="stable").astype(np.int32), []
    floor = judged(best(fits["popular"][0], trial.asked[0], trial.before.as_of, trial.answers), trial.wanted[0])
    for n in ASKED:
        asked: dict[str, Indices] = {
            "questions": questions(model.item_vectors, shares.astype(np.float32), n, spread=model.spread),
            "ask-popular": popular[:n], "ask-random": np.random.default_rng(SEED).permutation(popular)[:n],
            "ask-nothing": popular[:0],
        }  # fmt: skip
        found = {each: judged(answered(model, trial, items), trial.wanted[0]) for each, items in asked.items()}
        for each in asked:
            rows.append({
                "model": each, "by": "ours", "subset": f"ml1m/{n}", "users": len(trial.asked[0]),
                "by_shopper": {"": found[each], "popular": floor, "ask_popular": found["ask-popular"]}, **spent,
            })  # fmt: skip
    return rows


def answered(model: Model, trial: Trial, items: Indices) -> Indices:
    """What shoppers get who were asked about these items, and said yes to what they took."""
    nothing = trial.asked[0]
    if trial.answers is None or not len(items):
        return best(model, nothing, trial.before.as_of, trial.answers)
    said = trial.answers[:, items].toarray() > 0
    told = Histories.from_sequences([items[row] for row in said], len(trial.before.items))
    return best(model, replace(told, attributes=nothing.attributes), trial.before.as_of, trial.answers)
