"""river's ADWIN on streams of losses, for `make bench-guarantees`; run in an environment of its own, with river.

Reads an array [N, L] of losses; writes the number of the label [N] at which each stream alarms first, from a given one
on, and L if none does.
"""

import sys

import numpy as np
from river.drift import ADWIN


def first_alarm(losses: np.ndarray, since: int) -> int:
    """Counts an alarm if the mean has risen: ADWIN looks for any change."""
    detector = ADWIN()
    for number, loss in enumerate(losses.tolist()):
        before = detector.estimation
        detector.update(loss)
        if number >= since and detector.drift_detected and detector.estimation > before:
            return number
    return len(losses)


if __name__ == "__main__":
    streams = np.load(sys.argv[1])
    np.save(sys.argv[2], np.array([first_alarm(losses, int(sys.argv[3])) for losses in streams]))
