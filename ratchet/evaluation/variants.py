"""Chooses the variant that is packaged: fp32, or the fastest that is no worse and clearly faster. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ratchet.types import Variant

FULL = "fp32"
NO_WORSE = f"no worse than {FULL}"
MAX_LATENCY_RATIO = 0.9
"""Another variant must take at most this share of the latency of fp32: a smaller gain is noise and costs precision."""
MIN_SAVING_MS = 0.1
"""And at least this much is saved: two measurements of a model of microseconds differ by more than a tenth."""


@dataclass(frozen=True)
class Timing:
    """What the latency benchmark measured for one variant."""

    latency_ms: float
    difference: float
    """The largest difference of an output value from that of the machine that made the variant."""


def choose(
    variants: Sequence[Variant], timings: Mapping[str, Timing], measured_on: str, tolerance: float
) -> tuple[Variant, ...]:
    """The variants with their latencies, one of them packaged: fp32 if nothing was measured.

    `measured_on` names the host, or says why there are no figures. A variant whose outputs differ by more than the
    golden set's tolerance is rejected.
    """
    timed = [_with_timing(variant, timings.get(variant.name), measured_on, tolerance) for variant in variants]
    (full,) = [variant for variant in timed if variant.name == FULL]
    limit = max_latency_ms(full.latency_ms) if full.latency_ms is not None else 0.0
    faster = {
        variant.latency_ms: variant
        for variant in timed
        if variant is not full
        and variant.check.outcome == "passed"
        and variant.latency_ms is not None
        and variant.latency_ms <= limit
    }
    best = faster[min(faster)] if faster else full
    return tuple(replace(variant, packaged=variant is best) for variant in timed)


def max_latency_ms(full: float) -> float:
    """The latency that another variant may have at most, beside that of fp32, both in milliseconds."""
    return min(MAX_LATENCY_RATIO * full, full - MIN_SAVING_MS)


def _with_timing(variant: Variant, timing: Timing | None, measured_on: str, tolerance: float) -> Variant:
    if timing is None:
        return replace(variant, measured_on=measured_on)
    check = variant.check
    if variant.name != FULL and not timing.difference <= tolerance:
        why = f"on {measured_on} its outputs differ by {timing.difference:.2g}, more than {tolerance}"
        check = replace(check, outcome="failed", detail=f"{check.detail}; {why}")
    return replace(variant, latency_ms=timing.latency_ms, measured_on=measured_on, check=check)


def reject_packaged(variants: Sequence[Variant], why: str) -> tuple[Variant, ...]:
    """The same variants with fp32 packaged, since the evaluation rejected the one that was."""
    rejected = [replace(v, check=replace(v.check, outcome="failed", detail=why)) if v.packaged else v for v in variants]
    return tuple(replace(variant, packaged=variant.name == FULL) for variant in rejected)
