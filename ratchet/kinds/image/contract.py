"""Grey images of one size. Needs only NumPy and Pillow."""

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

from ratchet.contract import as_array, input_digest, require_range
from ratchet.errors import Refusal
from ratchet.tensors import Spec, Tensor, single, whole

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
    """A grey image of `height` x `width` pixels, uint8 in 0..255."""

    height: int
    width: int
    kind: ClassVar[str] = "image"
    column: ClassVar[str] = "image"
    datatype: ClassVar[str] = "UINT8"
    json_key: ClassVar[str] = "images"
    dtype: ClassVar[str] = "uint8"
    low: ClassVar[int] = 0
    high: ClassVar[int] = 255

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"an image has at least 1x1 pixels, not {self.height}x{self.width}")

    @property
    def shape(self) -> tuple[int, int]:
        return (self.height, self.width)

    def answers(self) -> None:
        """A recipe says."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        return f"a grey image of {self.height}x{self.width} pixels, {self.dtype} in {self.low}..{self.high}"

    def decode(self, data: bytes, which: str = "the image") -> np.ndarray:
        """An array of shape (height, width) from the bytes of an image file, by the rule in `DECODING`.

        Raises Refusal for anything but one PNG or JPEG frame of exactly that size.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of damaged metadata; the pixels are checked
                return self._decode(data, which)
        except UnidentifiedImageError as error:
            raise Refusal("the bytes are neither PNG nor JPEG", which, "Send one whole PNG or JPEG file") from error
        except Refusal:
            raise
        except Exception as error:  # Pillow's parsers raise many types on a damaged file
            what = f"the bytes are not a readable PNG or JPEG ({_short(error)})"
            raise Refusal(what, which, "Send one whole PNG or JPEG file") from error

    def _decode(self, data: bytes, which: str) -> np.ndarray:
        image: Image.Image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        size = image.size[::-1] if turned else image.size
        # Checked before a pixel is decoded, so that a false size costs nothing.
        if size != (self.width, self.height):
            what = f"the image is {size[0]}x{size[1]} pixels, not {self.width}x{self.height}"
            raise Refusal(what, which, f"Send an image of exactly {self.width}x{self.height} pixels")
        if getattr(image, "n_frames", 1) != 1:
            raise Refusal("the image has more than one frame", which, "Send a single frame")
        depth = _depth(data)
        if image.mode not in _MODES or (depth > 8 and not image.mode.startswith("I;16")):
            what = f"the pixel format ({image.mode}, {depth} bit) is not supported"
            raise Refusal(what, which, "Send 8-bit grey or RGB")
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        if image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
        return np.asarray(image.convert("L"))

    def check(self, array: np.ndarray, which: str = "the input") -> np.ndarray:
        """A batch of inputs [N, height, width] of the contract's type; nothing is reshaped or rounded.

        Raises Refusal on another rank, shape, type or range.
        """
        if array.dtype != np.dtype(self.dtype):
            raise Refusal(f"the type is {array.dtype}, not {self.dtype}", which, f"Send {self.dtype}")
        return self._checked(array, which)

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """The same for numbers without a type: nested lists, or an array of integers."""
        expected = f"[N, {self.height}, {self.width}] integers"
        array = as_array(values, which, expected)
        if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
            raise Refusal(f"the values are not integers ({array.dtype})", which, f"Send {expected}")
        return self._checked(array, which)

    def encode(self, value: Any, which: str) -> bytes:
        """The pixels of a record's value: an image file's bytes, an array, or a flat list of pixels."""
        if isinstance(value, bytes):
            return self.decode(value, which).tobytes()
        if isinstance(value, list):
            if len(value) != self.height * self.width:
                what = f"the row has {len(value)} pixels, not {self.height * self.width}"
                raise Refusal(what, which, "Correct the row")
            return self.read(np.array(value).reshape(1, *self.shape), which).tobytes()
        return self.check(value[None], which).tobytes()

    def digest(self, data: bytes, at: datetime | None) -> str:
        return input_digest(np.frombuffer(data, self.dtype).reshape(self.shape))

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """A batch [N, height, width] from `count` times height times width bytes."""
        if len(data) != count * self.height * self.width:
            raise Refusal(f"{len(data)} bytes were sent for {count} images", which, "Send one byte per pixel")
        return self.check(np.frombuffer(data, self.dtype).reshape(count, *self.shape), which)

    @property
    def tensors(self) -> tuple[Spec, ...]:
        return ((self.kind, self.datatype, self.shape),)

    def from_tensors(self, tensors: Sequence[Tensor], most: int) -> np.ndarray:
        return single(self, tensors, most)

    def to_tensors(self, inputs: np.ndarray) -> list[Tensor]:
        return [whole(self, inputs)]

    def values(self, inputs: np.ndarray) -> list[Any]:
        return inputs.tolist()

    def pack(self, inputs: np.ndarray) -> bytes:
        return inputs.tobytes()

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        return ()

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, height, width, 1] in 0..255, not scaled."""
        return inputs.astype(np.float32)[..., None]

    def categories(self) -> tuple[int, ...]:
        return ()

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shifted by up to one pixel, with a little noise where the image is not black."""
        shifted = np.roll(inputs.astype(np.int16), rng.integers(-1, 2, size=2), axis=(1, 2))
        noisy = shifted + np.where(inputs > 0, rng.integers(-8, 9, size=inputs.shape), 0)
        return noisy.clip(self.low, self.high).astype(self.dtype)

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """Each has a few grey rectangles on black."""
        images = np.zeros((count, *self.shape), self.dtype)
        for image in images:
            for _ in range(rng.integers(1, 5)):
                (top, bottom), (left, right) = (np.sort(rng.integers(0, side + 1, size=2)) for side in self.shape)
                image[top : bottom + 1, left : right + 1] = rng.integers(40, self.high + 1)
        return images

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Tiles: top, bottom, left, right."""
        side = math.isqrt(most)
        rows, columns = (np.linspace(0, n, min(side, n) + 1).round().astype(int).tolist() for n in self.shape)
        return [(top, bottom, left, right) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        """The tile, and a border of its own size around it, gets the median brightness of the image's edge."""
        top, bottom, left, right = region
        height, width, occluded = bottom - top, right - left, input.copy()
        edge = np.concatenate([input[0, 0], input[0, -1], input[0, :, 0], input[0, :, -1]])
        rows = slice(max(top - height, 0), bottom + height)
        columns = slice(max(left - width, 0), right + width)
        occluded[0, rows, columns] = np.median(edge)
        return occluded

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        return ""

    def render(self, input: np.ndarray) -> str:
        """A PNG as a data URI, at most 256 pixels wide."""
        picture, out = Image.fromarray(input[0]), io.BytesIO()
        picture.thumbnail((256, 256))
        picture.save(out, "PNG")
        return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"

    def example(self) -> np.ndarray:
        return np.zeros((1, *self.shape), self.dtype)

    def _checked(self, array: np.ndarray, which: str) -> np.ndarray:
        if array.ndim != 3 or array.shape[1:] != self.shape or array.shape[0] == 0:
            what = f"the shape is {list(array.shape)}, not [N, {self.height}, {self.width}]"
            raise Refusal(what, which, "Send exactly that shape")
        require_range(array, self.low, self.high, which)
        return array.astype(self.dtype, copy=False)


def _depth(data: bytes) -> int:
    """Bits a sample: a PNG's header says so; JPEG has 8. Pillow reads 16-bit colours as 8."""
    return data[24] if data[:4] == b"\x89PNG" else 8


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
