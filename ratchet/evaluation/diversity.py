"""Chooses records that are worth a label: those that are probably wrong and differ from one another. Pure."""

import numpy as np

_POOL = 10
"""How many times as many candidates as are chosen take part, by their expected loss."""


def choose(expected: np.ndarray, features: np.ndarray, count: int) -> list[int]:
    """Up to `count` of N records, by their expected losses [N] and their features [N, F], the most useful first.

    The candidates are those with the largest expected loss. Each next one maximizes its loss times its distance from
    those before, as in core-set selection (Sener and Savarese, ICLR 2018): one of each cluster comes early.
    """
    pool = np.argsort(-expected, kind="stable")[: count * _POOL]
    if not len(pool):
        return []
    scale = features[pool].std(axis=0)
    points = np.nan_to_num((features[pool] - features[pool].mean(axis=0)) / np.where(scale > 0, scale, 1.0))
    weights, chosen = expected[pool] + 1e-9, [0]
    nearest = np.full(len(pool), np.inf)
    while len(chosen) < min(count, len(pool)):
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        scores = weights * (nearest + 1e-9)
        scores[chosen] = -1.0
        chosen.append(int(scores.argmax()))
    return [int(pool[at]) for at in chosen]
