"""What BentoML's metrics page says, read: the names are BentoML's (1.4)."""

from __future__ import annotations

import re
from collections import Counter

_BUCKET = re.compile(r"^bentoml_service_request_duration_seconds_bucket\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_ASKED = ("/classify", "/predict", "/infer")


def within(metrics: str) -> Counter[float]:
    """How many answers took at most so many seconds, from a bento's metrics page. Pure."""
    found: Counter[float] = Counter()
    for labels, count in _BUCKET.findall(metrics):
        told = dict(_LABEL.findall(labels))
        if told["endpoint"].endswith(_ASKED) and told["http_response_code"] == "200":
            found[float(told["le"])] += int(float(count))
    return found
