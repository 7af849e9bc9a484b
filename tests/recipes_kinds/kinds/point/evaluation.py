"""Slices of points, and nothing else."""

from collections.abc import Mapping, Sequence

import numpy as np
from ratchet.kinds.point.contract import PointContract

from ratchet.evaluation.thirds import thirds
from ratchet.kinds.parts import Perturbation, Slices

PERTURBATIONS: Mapping[str, Perturbation] = {"mirrored": lambda points: points[:, ::-1]}


def columns(contract: PointContract, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    return {}


def unseen(contract: PointContract, inputs: np.ndarray, vocabulary: Sequence[str]) -> None:
    """Points have no vocabulary."""


def slices(contract: PointContract) -> Mapping[str, Slices]:
    return {"sum": lambda points: thirds(points.sum(axis=1), "sum")}


near = prefixed = None
