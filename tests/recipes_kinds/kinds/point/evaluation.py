"""Slices of points, and nothing else."""

from collections.abc import Mapping

from ratchet.kinds.parts import Perturbation, Property

PERTURBATIONS: Mapping[str, Perturbation] = {"mirrored": lambda points: points[:, ::-1]}
PROPERTIES: Mapping[str, Property] = {"sum": lambda points: points.sum(axis=1)}
near = prefixed = None
