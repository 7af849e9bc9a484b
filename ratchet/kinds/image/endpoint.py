"""BentoML's own API for images. A parameter's name is the name in the request's body."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ratchet.kinds.image.contract import ImageContract


def apis(
    contract: ImageContract,
    predict_one: Callable[[Callable[[], Any]], Any],
    predict_json: Callable[[list[Any]], Any],
    explain_json: Callable[[list[Any]], Any],
) -> Mapping[str, Callable[..., Any]]:
    """The methods of the service, by name."""

    async def classify(self: Any, image: Path) -> dict[str, Any]:
        """One image file in the form field `image`; what another size than the model's means is the recipe's to say."""
        return await predict_one(lambda: contract.unpack(contract.encode(image.read_bytes(), "the image"), 1))

    async def predict(self: Any, images: list[Any]) -> dict[str, Any]:
        """A JSON array of images [N, height, width], integers."""
        return await predict_json(images)

    async def explain(self: Any, images: list[Any]) -> dict[str, Any]:
        """One image [1, height, width]: the attribution of each region (top, bottom, left, right)."""
        return await explain_json(images)

    return {"classify": classify, "predict": predict, "explain": explain}
