"""Ridge regression of many targets on sparse features."""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Floats, Matrix


def ridge(
    features: Matrix, targets: Floats, weights: Floats, penalty: float, start: Floats, *, steps: int, enough: float
) -> Floats:
    """The V `(n_features, d)` that minimises sum_i w_i |t_i - V'f_i|^2 + penalty |V|^2, nearly.

    `features (n, n_features)`, `targets (n, d)`, `weights (n,)`. Conjugate gradients on the normal equations, each of
    the d columns on its own, from `start` on, until every residual is `enough` times its right side or after `steps`.
    O(cells of `features` x d) a step.
    """
    across = features.T.tocsr()
    weighted = weights[:, None]
    right = across @ (weighted * targets)
    found = start.astype(np.float32, copy=True)
    left = right - across @ (weighted * (features @ found)) - np.float32(penalty) * found
    step, size = left.copy(), (left**2).sum(axis=0)
    bar = np.maximum((right**2).sum(axis=0) * np.float32(enough**2), np.float32(1e-30))
    for _ in range(steps):
        if (size <= bar).all():
            break
        image = across @ (weighted * (features @ step)) + np.float32(penalty) * step
        through = (step * image).sum(axis=0)
        length = np.divide(size, through, out=np.zeros_like(size), where=(size > bar) & (through > 0))
        found += length * step
        left -= length * image
        before, size = size, (left**2).sum(axis=0)
        step = left + np.divide(size, before, out=np.zeros_like(size), where=before > 0) * step
    return found
