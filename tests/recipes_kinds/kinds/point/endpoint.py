"""BentoML's own API for points."""

from collections.abc import Callable, Mapping
from typing import Any

from ratchet.kinds.point.contract import PointContract


def apis(
    contract: PointContract,
    predict_one: Callable[[Callable[[], Any]], Any],
    predict_json: Callable[[list[Any]], Any],
    explain_json: Callable[[list[Any]], Any],
) -> Mapping[str, Callable[..., Any]]:
    async def predict(self: Any, points: list[Any]) -> dict[str, Any]:
        """A JSON array of points [N, 2]."""
        return await predict_json(points)

    async def explain(self: Any, points: list[Any]) -> dict[str, Any]:
        """One point [1, 2]: the attribution of each coordinate."""
        return await explain_json(points)

    return {"predict": predict, "explain": explain}
