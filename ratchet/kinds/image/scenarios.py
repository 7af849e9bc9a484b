"""What may become of images that are sent, for a replay."""

from collections.abc import Callable, Mapping

import numpy as np

from ratchet.kinds.image.contract import ImageContract
from ratchet.kinds.parts import Change, Scenario


def _of_light(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Change:
    """A change of the values 0..255 of images [N, ...], as numbers."""

    def apply(contract: ImageContract, images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        return np.clip(change(images.astype(np.float32), chance), 0, 255).astype(images.dtype)

    return apply


def _darker(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Each a little otherwise: what is the same in every request looks like a broken source."""
    return images * chance.uniform(0.1, 0.2, len(images)).reshape(-1, *[1] * (images.ndim - 1))


def _rotated(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Upside down, which keeps the shape."""
    return images[:, ::-1, ::-1]


def _noisy(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return images + chance.normal(0.0, 60.0, images.shape)


def _new_camera(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return 5 + images * 0.92


SCENARIOS: Mapping[str, Scenario] = {
    "darker": Scenario("images with a tenth to a fifth of the light", _of_light(_darker), in_a_year="harmful"),
    "rotated": Scenario("images that are upside down", _of_light(_rotated)),
    "noisy": Scenario("images with much noise", _of_light(_noisy)),
    "new-camera": Scenario("images with a little less contrast", _of_light(_new_camera), in_a_year="benign"),
}
