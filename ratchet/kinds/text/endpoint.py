"""BentoML's own API for texts. A parameter's name is the name in the request's body."""

from collections.abc import Callable, Mapping
from typing import Any

from ratchet.kinds.text.contract import TextContract


def apis(
    contract: TextContract,
    predict_one: Callable[[Callable[[], Any]], Any],
    predict_json: Callable[[list[Any]], Any],
    explain_json: Callable[[list[Any]], Any],
) -> Mapping[str, Callable[..., Any]]:
    """The methods of the service, by name."""

    async def predict(self: Any, texts: list[Any]) -> dict[str, Any]:
        """A JSON array of plain texts."""
        return await predict_json(texts)

    async def explain(self: Any, texts: list[Any]) -> dict[str, Any]:
        """One text in an array: the attribution of each of its words."""
        return await explain_json(texts)

    return {"predict": predict, "explain": explain}
