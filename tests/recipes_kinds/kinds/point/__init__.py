"""A kind of input from outside of the project: points of the unit square."""

from ratchet.kinds.point.contract import PointContract

__all__ = ["PointContract"]
CONTRACT = PointContract
