"""BentoML's own API for windows of a series. A parameter's name is the name in the request's body."""

from collections.abc import Callable, Mapping
from typing import Any

from ratchet.kinds.series.contract import SeriesContract


def apis(
    contract: SeriesContract,
    predict_one: Callable[[Callable[[], Any]], Any],
    predict_json: Callable[[list[Any]], Any],
    explain_json: Callable[[list[Any]], Any],
) -> Mapping[str, Callable[..., Any]]:
    """The methods of the service, by name."""

    async def predict(self: Any, series: list[Any]) -> dict[str, Any]:
        """A JSON array of windows [N, window], numbers, the newest last; null where a value is missing."""
        return await predict_json(series)

    async def explain(self: Any, series: list[Any]) -> dict[str, Any]:
        """One window [1, window]: how far each of its steps moves the forecast."""
        return await explain_json(series)

    return {"predict": predict, "explain": explain}
