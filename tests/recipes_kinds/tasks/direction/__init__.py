"""A task from outside of the project: a direction in the plane."""

from ratchet.tasks.direction.answers import Direction

__all__ = ["Direction"]
ANSWERS = Direction
