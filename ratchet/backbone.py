"""A network that begins with the weights that somebody else has trained: `Recipe.network=Backbone(...)`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.files import sha256

NAME = "backbone"
"""The layer that `Training.frozen_epochs` freezes."""


@dataclass(frozen=True)
class Backbone:
    """A Keras model of images without its last layers, in a file `.keras`, and a new last layer.

    Its batch normalization stays as it is: a few images would spoil the means of millions. Nothing in the file is
    executed but Keras's own layers.
    """

    file: str
    sha256: str
    low: float = 0.0
    """What the backbone expects for black."""
    high: float = 255.0
    """And for the brightest value: the models of `keras.applications` differ in this."""
    brightest: float = 255.0
    """The contract's `high`."""
    dropout: float = 0.2

    def __call__(self, shape: tuple[int, ...], width: int) -> Any:
        """The network for inputs [N, *shape], whose values are 0..`brightest`, with `width` outputs.

        Raises Refusal if the file is not the one that was pinned, or does not fit the inputs.
        """
        import keras

        backbone = self._load()
        entry = keras.Input(shape, name="image")
        x: Any = keras.layers.Rescaling((self.high - self.low) / self.brightest, offset=self.low)(entry)
        channels = backbone.input_shape[-1]
        if shape[-1] == 1 and channels == 3:
            x = keras.layers.Concatenate()([x, x, x])
        backbone.name = NAME
        for layer in normalizations(backbone):
            layer.trainable = False
        try:
            features = backbone(x)
        except ValueError as error:
            what = f"it takes inputs of shape {list(backbone.input_shape[1:])}, and the contract has {list(shape)}"
            raise Refusal(what, self.file, "Change the contract's height, width or channels") from error
        if len(features.shape) == 4:
            features = keras.layers.GlobalAveragePooling2D()(features)
        features = keras.layers.Dropout(self.dropout)(features)
        activation = "softmax" if width > 1 else "linear"
        return keras.Model(entry, keras.layers.Dense(width, activation=activation)(features), name="fine_tuned")

    def _load(self) -> Any:
        import keras

        path = Path(self.file).expanduser()
        if not path.is_file():
            raise Refusal("there is no such file", path, "Give the path of the weights")
        if (actual := sha256(path)) != self.sha256:
            raise Refusal(f"its SHA-256 is {actual[:16]}…, not {self.sha256[:16]}…", path, "Give the pinned file")
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            what = f"Keras cannot read the file ({reason})"
            raise Refusal(what, path, "Save the model with `model.save('name.keras')`") from error


def normalizations(model: Any) -> Iterator[Any]:
    """The layers of batch normalization, also of models within the model."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer
        elif hasattr(layer, "layers"):
            yield from normalizations(layer)
