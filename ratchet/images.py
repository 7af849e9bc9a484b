"""Images: grey, of one size, whole numbers. Needs only NumPy and Pillow."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ratchet.contract import as_array, input_digest
from ratchet.errors import Refusal

DECODING = """\
PNG or JPEG, by their bytes. One frame. The size must be exact: nothing is scaled or cropped.
1. EXIF orientation is applied.
2. 16-bit grey is shifted to 8 bit (value // 256); other depths above 8 bit are refused.
3. A palette becomes its colours. Alpha is laid over black.
4. Embedded colour profiles are ignored: values are taken as sRGB.
5. Colour becomes grey by ITU-R 601-2 luma, as Pillow's "L".
"""

_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"}


@dataclass(frozen=True)
class ImageContract:
    """A grey image of `height` x `width` whole numbers in 0..255, type uint8."""

    height: int
    width: int
    kind: ClassVar[str] = "image"
    column: ClassVar[str] = "image"
    datatype: ClassVar[str] = "UINT8"
    many: ClassVar[str] = "images"
    dtype: ClassVar[str] = "uint8"
    low: ClassVar[int] = 0
    high: ClassVar[int] = 255

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"an image is at least 1x1 pixels, not {self.height}x{self.width}")

    @property
    def shape(self) -> tuple[int, int]:
        return (self.height, self.width)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        return f"a grey image of {self.height}x{self.width} pixels, {self.dtype} in {self.low}..{self.high}"

    def decode(self, data: bytes, which: str = "the image") -> np.ndarray:
        """An image file's bytes to an array of shape (height, width), by the rule in `DECODING`.

        Raises Refusal for anything that is not one PNG or JPEG frame of exactly that size.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is damaged; the pixels are checked
                return self._decode(data, which)
        except UnidentifiedImageError as error:
            raise Refusal("the bytes are neither PNG nor JPEG", which, "Send one whole PNG or JPEG file") from error
        except Refusal:
            raise
        except Exception as error:  # Pillow's parsers raise whatever a damaged file leads them to
            raise Refusal(
                f"the bytes are no readable PNG or JPEG ({_short(error)})", which, "Send one whole PNG or JPEG file"
            ) from error

    def _decode(self, data: bytes, which: str) -> np.ndarray:
        image: Image.Image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        size = image.size[::-1] if turned else image.size
        # Before a pixel is decoded, so that a claimed size costs nothing.
        if size != (self.width, self.height):
            raise Refusal(
                f"the image is {size[0]}x{size[1]} pixels, not {self.width}x{self.height}",
                which,
                f"Send an image of exactly {self.width}x{self.height} pixels",
            )
        if getattr(image, "n_frames", 1) != 1:
            raise Refusal("the image has more than one frame", which, "Send a single frame")
        depth = _depth(data)
        if image.mode not in _MODES or (depth > 8 and not image.mode.startswith("I;16")):
            raise Refusal(f"the pixel format ({image.mode}, {depth} bit) is not read", which, "Send 8-bit grey or RGB")
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        if image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
        return np.asarray(image.convert("L"))

    def check(self, array: np.ndarray, which: str = "the input") -> np.ndarray:
        """A batch of inputs (N, height, width) of the contract's type; never reshaped or rounded.

        Raises Refusal on another rank, shape, type or range.
        """
        if array.dtype != np.dtype(self.dtype):
            raise Refusal(f"the type is {array.dtype}, not {self.dtype}", which, f"Send {self.dtype}")
        return self._fits(array, which)

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """The same for numbers that come without a type: nested lists, or an array of whole numbers."""
        want = f"[N, {self.height}, {self.width}] whole numbers"
        array = as_array(values, which, want)
        if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
            raise Refusal(f"the values are not whole numbers ({array.dtype})", which, f"Send {want}")
        return self._fits(array, which)

    def hold(self, value: Any, which: str) -> bytes:
        """A record's value, as a source file gave it: a file's bytes, an array, or a flat list of pixels."""
        if isinstance(value, bytes):
            return self.decode(value, which).tobytes()
        if isinstance(value, list):
            if len(value) != self.height * self.width:
                raise Refusal(f"it has {len(value)} pixels, not {self.height * self.width}", which, "Mend the row")
            return self.read(np.array(value).reshape(1, *self.shape), which).tobytes()
        return self.check(value[None], which).tobytes()

    def digest(self, data: bytes, at: datetime | None) -> str:
        return input_digest(np.frombuffer(data, self.dtype).reshape(self.shape))

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """A batch [N, height, width] from `count` times height times width bytes."""
        if len(data) != count * self.height * self.width:
            raise Refusal(f"there are {len(data)} bytes for {count} images", which, "Send one byte a pixel")
        return self.check(np.frombuffer(data, self.dtype).reshape(count, *self.shape), which)

    def pack(self, inputs: np.ndarray) -> bytes:
        return inputs.tobytes()

    def learn(self, inputs: np.ndarray) -> tuple[str, ...]:
        return ()

    def features(self, inputs: np.ndarray, words: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, height, width, 1], in 0..255 as they are."""
        return inputs.astype(np.float32)[..., None]

    def vary(self, inputs: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Moved by up to a pixel, with a little noise where there is something."""
        moved = np.roll(inputs.astype(np.int16), chance.integers(-1, 2, size=2), axis=(1, 2))
        noisy = moved + np.where(inputs > 0, chance.integers(-8, 9, size=inputs.shape), 0)
        return noisy.clip(self.low, self.high).astype(self.dtype)

    def made(self, count: int, chance: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """A few grey rectangles each, on black."""
        made = np.zeros((count, *self.shape), self.dtype)
        for image in made:
            for _ in range(chance.integers(1, 5)):
                (top, bottom), (left, right) = (np.sort(chance.integers(0, side + 1, size=2)) for side in self.shape)
                image[top : bottom + 1, left : right + 1] = chance.integers(40, self.high + 1)
        return made

    def parts(self, one: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Tiles: top, bottom, left, right."""
        side = math.isqrt(most)
        rows, columns = (np.linspace(0, n, min(side, n) + 1).round().astype(int).tolist() for n in self.shape)
        return [(top, bottom, left, right) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]

    def without(self, one: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        """The tile and as much around it as it is high and wide becomes as bright as the image's edge."""
        top, bottom, left, right = at
        high, wide, hidden = bottom - top, right - left, one.copy()
        edge = np.concatenate([one[0, 0], one[0, -1], one[0, :, 0], one[0, :, -1]])
        hidden[0, max(top - high, 0) : bottom + high, max(left - wide, 0) : right + wide] = np.median(edge)
        return hidden

    def show(self, one: np.ndarray) -> str:
        """At most 256 pixels wide."""
        picture, out = Image.fromarray(one[0]), io.BytesIO()
        picture.thumbnail((256, 256))
        picture.save(out, "PNG")
        return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"

    def example(self) -> np.ndarray:
        return np.zeros((1, *self.shape), self.dtype)

    def _fits(self, array: np.ndarray, which: str) -> np.ndarray:
        if array.ndim != 3 or array.shape[1:] != self.shape or array.shape[0] == 0:
            raise Refusal(
                f"the shape is {list(array.shape)}, not [N, {self.height}, {self.width}]",
                which,
                "Send exactly that shape",
            )
        if array.min() < self.low or array.max() > self.high:
            raise Refusal(
                f"values reach from {array.min()} to {array.max()}, outside {self.low}..{self.high}",
                which,
                "Send values in that range",
            )
        return array.astype(self.dtype, copy=False)


def _depth(data: bytes) -> int:
    """Bits a sample: a PNG's header says so; JPEG has 8. Pillow reads 16-bit colours as 8."""
    return data[24] if data[:4] == b"\x89PNG" else 8


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
