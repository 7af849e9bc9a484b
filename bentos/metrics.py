"""Parses BentoML's metrics page (1.4)."""

import re
from collections import Counter

from ratchet.endpoints import PREDICTIONS

_BUCKET = re.compile(r"^bentoml_service_request_duration_seconds_bucket\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def cumulative(metrics: str) -> Counter[float]:
    """The number of successful predictions that took at most so many seconds. Pure."""
    buckets: Counter[float] = Counter()
    for text, count in _BUCKET.findall(metrics):
        labels = dict(_LABEL.findall(text))
        if labels["endpoint"].endswith(PREDICTIONS) and labels["http_response_code"] == "200":
            buckets[float(labels["le"])] += int(float(count))
    return buckets
