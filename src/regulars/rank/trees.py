"""Boosted trees as plain arrays: fitted by LightGBM, read without it.

A tree's inner node sends a row left where its feature is at or below the threshold; children below 0 are leaves,
`-1 - child` their number. A sum over trees in their order, in float64, is LightGBM's own raw score to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats
from regulars.core.errors import ModelError
from regulars.core.jit import kernel

Doubles = NDArray[np.float64]
Numbers = NDArray[np.int32]
BLOCK = 128  # rows walked at a time: some 16 KB


@dataclass(frozen=True)
class Trees:
    """An ensemble; nodes and leaves of all trees stand one after the other."""

    root: Numbers  # (n_trees,) first node of each tree, or a leaf
    feature: Numbers  # (n_nodes,)
    threshold: Doubles  # (n_nodes,)
    left: Numbers  # (n_nodes,)
    right: Numbers  # (n_nodes,)
    leaf: Doubles  # (n_leaves,) what a leaf adds

    def __len__(self) -> int:
        return len(self.root)

    @classmethod
    def of(cls, dump: Mapping[str, Any]) -> Self:
        """Read what LightGBM's `Booster.dump_model()` gives; only splits on numbers that are all there."""
        grown = _Grown([], [], [], [], [])
        root = [grown.add(tree["tree_structure"]) for tree in dump["tree_info"]]
        return cls(
            root=np.array(root, dtype=np.int32), feature=np.array(grown.feature, dtype=np.int32),
            threshold=np.array(grown.threshold, dtype=np.float64), left=np.array(grown.left, dtype=np.int32),
            right=np.array(grown.right, dtype=np.int32), leaf=np.array(grown.leaf, dtype=np.float64),
        )  # fmt: skip

    def sum(self, rows: Floats) -> Doubles:
        """The ensemble's raw score of each row `(n,)`, for `rows (n, n_features)` float32 without NaN."""
        total = np.zeros(len(rows))
        _add_trees(
            np.ascontiguousarray(rows), self.root, self.feature, self.threshold, self.left, self.right, self.leaf,
            total,
        )  # fmt: skip
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole of it by name, for saving."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def check(self, n_features: int, where: str) -> Self:
        """Refuse arrays that would send a walk out of bounds or round in a circle; raises `ModelError`."""
        n_nodes, n_leaves = len(self.feature), len(self.leaf)
        sizes_agree = len(self.threshold) == len(self.left) == len(self.right) == n_nodes
        children = np.concatenate((self.left, self.right))
        parents = np.concatenate((np.arange(n_nodes), np.arange(n_nodes))) if sizes_agree else children
        inner = children >= 0
        good = (
            sizes_agree
            and bool((children[inner] < n_nodes).all() and (children[inner] > parents[inner]).all())
            and bool((-1 - children[~inner] < n_leaves).all())
            and bool(((self.root < n_nodes) & (-1 - self.root < n_leaves)).all())
            and bool(((self.feature >= 0) & (self.feature < n_features)).all())
        )
        if not good:
            raise ModelError(where, got="trees whose nodes do not fit together", wanted="saved trees",
                             remedy="Train again, or roll back to another version.")  # fmt: skip
        return self


@dataclass
class _Grown:
    """Trees while they are read, children after their parents."""

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    leaf: list[float]

    def add(self, node: Mapping[str, Any]) -> int:
        """Append a node and all below it; return its number, or `-1 - leaf`."""
        if "split_feature" not in node:
            self.leaf.append(float(node["leaf_value"]))
            return -len(self.leaf)
        if node["decision_type"] != "<=" or node["missing_type"] != "None":
            raise ModelError("trees", got=f"a split {node['decision_type']!r} with {node['missing_type']!r} missing",
                             wanted="splits on numbers that are all there")  # fmt: skip
        place = len(self.feature)
        self.feature.append(int(node["split_feature"]))
        self.threshold.append(float(node["threshold"]))
        self.left.append(0)
        self.right.append(0)
        self.left[place] = self.add(node["left_child"])
        self.right[place] = self.add(node["right_child"])
        return place


@kernel
def _add_trees(
    rows: Floats, root: Numbers, feature: Numbers, threshold: Doubles, left: Numbers, right: Numbers, leaf: Doubles,
    total: Doubles,
) -> None:  # fmt: skip
    """Tree by tree over a block of rows, so that the nodes of a tree and the rows both stay in the nearest cache."""
    for start in range(0, len(rows), BLOCK):
        stop = min(start + BLOCK, len(rows))
        for tree in range(len(root)):
            for row in range(start, stop):
                node = root[tree]
                while node >= 0:
                    node = left[node] if rows[row, feature[node]] <= threshold[node] else right[node]
                total[row] += leaf[-1 - node]
