"""Parses a bento's page of metrics."""

import re
from collections import Counter

from ratchet.endpoints import DURATION, PREDICTIONS

_BEFORE = "bentoml_service_request_duration_seconds"
"""BentoML's own histogram (1.4), which bentos had that were built before `ratchet_prediction_duration_seconds`."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def cumulative(metrics: str) -> Counter[float]:
    """The number of successful predictions that took at most so many seconds. Pure."""
    return _buckets(metrics, DURATION) or _buckets(metrics, _BEFORE)


def _buckets(metrics: str, histogram: str) -> Counter[float]:
    buckets: Counter[float] = Counter()
    for text, count in re.findall(rf"^{histogram}_bucket\{{(.*)\}} (\S+)$", metrics, re.MULTILINE):
        labels = dict(_LABEL.findall(text))
        if labels["endpoint"].endswith(PREDICTIONS) and labels["http_response_code"] == "200":
            buckets[float(labels["le"])] += int(float(count))
    return buckets
