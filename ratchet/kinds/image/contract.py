"""Images, grey or in colour. Needs only NumPy and Pillow."""

import base64
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ratchet.contract import as_array, given_fields, input_digest, require_range
from ratchet.errors import Refusal
from ratchet.tensors import Spec, Tensor, single, whole

DECODING = """\
PNG, JPEG, WebP, TIFF or BMP, by their bytes. One frame, at most 25 million pixels.
1. EXIF orientation is applied.
2. A palette becomes its colours. Alpha is laid over black, unless the contract has four channels.
3. Embedded colour profiles are ignored: values are taken as sRGB.
4. For a grey contract colour becomes grey by ITU-R 601-2 luma, as Pillow's "L"; for a colour contract grey becomes
   three equal channels.
5. 16-bit grey keeps its values, for a contract whose `high` is above 255; any other refuses it.
6. Another size is refused, or changed as `resize` says, with Pillow's bilinear filter over the whole area that a pixel
   covers: `stretch` to the size; `crop` to cover it, and cut evenly at both sides; `fit` within it, on black.
"""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"}
_MAX_PIXELS = 25_000_000
_COLOURS = {1: "grey", 3: "colour", 4: "colour and alpha"}


@dataclass(frozen=True)
class ImageContract:
    """An image of `height` x `width` pixels: uint8, or uint16 if `high` is above 255."""

    height: int
    width: int
    channels: int = 1
    """1 is grey, 3 are red, green and blue, 4 are these and alpha."""
    resize: str = "exact"
    """What happens to an image file of another size: `exact` refuses it, `fit`, `crop` and `stretch` change it."""
    low: int = 0
    high: int = 255
    """The range of a value; with one above 255, such as 4095, 16-bit grey is read as it is, and cut to the range."""
    kind: ClassVar[str] = "image"
    column: ClassVar[str] = "image"
    json_key: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"an image has at least 1x1 pixels, not {self.height}x{self.width}")
        if self.channels not in _COLOURS:
            raise ValueError(f"an image has 1, 3 or 4 channels, not {self.channels}")
        if self.resize not in _RESIZE:
            raise ValueError(f"there is no resize {self.resize!r}; choose from: {', '.join(_RESIZE)}")
        if not 0 <= self.low < self.high <= 65535 or (self.high > 255 and self.channels != 1):
            raise ValueError("low and high lie in 0..255, or in 0..65535 for grey")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)

    @property
    def dtype(self) -> str:
        return "uint8" if self.high <= 255 else "uint16"

    @property
    def datatype(self) -> str:
        return self.dtype.upper()

    def answers(self) -> None:
        """A recipe says."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **given_fields(self)}

    def describe(self) -> str:
        size = f"{self.height}x{self.width} pixels"
        resized = "" if self.resize == "exact" else f", or of another size ({self.resize})"
        return f"an image in {_COLOURS[self.channels]} of {size}{resized}, {self.dtype} in {self.low}..{self.high}"

    def decode(self, data: bytes, which: str = "the image") -> np.ndarray:
        """An array of the contract's shape from the bytes of an image file, by the rule in `DECODING`.

        Raises Refusal for anything but one frame of a known format, of a size that the contract takes.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of damaged metadata; the pixels are checked
                return self._decode(data, which)
        except UnidentifiedImageError as error:
            what = "the bytes are neither PNG nor JPEG, WebP, TIFF or BMP"
            raise Refusal(what, which, "Send one whole image file") from error
        except Refusal:
            raise
        except Exception as error:  # Pillow's parsers raise many types on a damaged file
            what = f"the bytes are not a readable image ({_short(error)})"
            raise Refusal(what, which, "Send one whole image file") from error

    def _decode(self, data: bytes, which: str) -> np.ndarray:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        # Checked before a pixel is decoded, so that a false size costs nothing.
        self._check_size(image, which)
        if getattr(image, "n_frames", 1) != 1:
            raise Refusal("the image has more than one frame", which, "Send a single frame")
        depth = _depth(data)
        if image.mode not in _MODES or (depth > 8 and not image.mode.startswith("I;16")):
            what = f"the pixel format ({image.mode}, {depth} bit) is not supported"
            raise Refusal(what, which, "Send 8-bit grey or RGB")
        deep = image.mode.startswith("I;16")
        if deep and self.high <= 255:
            next = "Give the contract `low` and `high` of its values, or send 8 bit"
            raise Refusal("the image has 16 bits, and the contract 8", which, next)
        image = ImageOps.exif_transpose(image)
        if deep:
            return self._fitted(Image.fromarray(np.asarray(image).astype(np.float32)))
        if image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info:
            image = image.convert("RGBA")
            if self.channels != 4:
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image).convert("RGB")
        return self._fitted(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[self.channels]))

    def _check_size(self, image: Image.Image, which: str) -> None:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        size = image.size[::-1] if turned else image.size
        if self.resize == "exact" and size != (self.width, self.height):
            what = f"the image is {size[0]}x{size[1]} pixels, not {self.width}x{self.height}"
            raise Refusal(what, which, f"Send an image of exactly {self.width}x{self.height} pixels")
        if size[0] * size[1] > _MAX_PIXELS:
            what = f"the image has {size[0] * size[1]:,} pixels, more than {_MAX_PIXELS:,}"
            raise Refusal(what, which, "Send a smaller one")

    def _fitted(self, image: Image.Image) -> np.ndarray:
        """The pixels of an image in the contract's size, type and range."""
        size = (self.width, self.height)
        if image.size != size:
            image = _RESIZE[self.resize](image, size)
        pixels = np.asarray(image)
        return pixels.round().clip(self.low, self.high).astype(self.dtype) if self.high > 255 else pixels

    def note(self, value: Any) -> str:
        """What `decode` takes away from an image file's own content; empty if it is nothing."""
        if not isinstance(value, bytes):
            return ""
        try:
            image = Image.open(io.BytesIO(value), formats=FORMATS)
            colour = image.mode in ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
            alpha = image.mode in ("PA", "LA", "RGBA") or "transparency" in image.info
            notes = ["its colours became grey"] * (colour and self.channels == 1)
            notes += ["its four printing colours became red, green and blue"] * (
                image.mode == "CMYK" and self.channels != 1
            )
            notes += ["its alpha was laid over black"] * (alpha and self.channels != 4)
            notes += [f"it was resized ({self.resize})"] * (set(image.size) != {self.width, self.height})
        except Exception:  # it is refused with the reason
            return ""
        return ", ".join(notes)

    def check(self, array: np.ndarray, which: str = "the input") -> np.ndarray:
        """A batch of inputs [N, height, width] or [N, height, width, channels]; nothing is reshaped or rounded.

        Raises Refusal on another rank, shape, type or range.
        """
        if array.dtype != np.dtype(self.dtype):
            raise Refusal(f"the type is {array.dtype}, not {self.dtype}", which, f"Send {self.dtype}")
        return self._checked(array, which)

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """The same for numbers without a type: nested lists, or an array of integers."""
        expected = f"[N, {', '.join(map(str, self.shape))}] integers"
        array = as_array(values, which, expected)
        if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
            raise Refusal(f"the values are not integers ({array.dtype})", which, f"Send {expected}")
        return self._checked(array, which)

    @property
    def same(self) -> str:
        return "images with the same pixels, after resizing, are one input"

    def encode(self, value: Any, which: str) -> bytes:
        """The pixels of a record's value: an image file's bytes, an array, or a flat list of pixels."""
        if isinstance(value, bytes):
            return self.decode(value, which).tobytes()
        if isinstance(value, list):
            if len(value) != math.prod(self.shape):
                what = f"the row has {len(value)} pixels, not {math.prod(self.shape)}"
                raise Refusal(what, which, "Correct the row")
            return self.read(np.array(value).reshape(1, *self.shape), which).tobytes()
        return self.check(value[None], which).tobytes()

    def beside(self, data: bytes) -> str:
        return ""

    def digest(self, data: bytes, at: datetime | None) -> str:
        return input_digest(np.frombuffer(data, self.dtype).reshape(self.shape))

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """A batch from the bytes of `count` images, row by row, little-endian."""
        size = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if len(data) != count * size:
            what = f"{len(data)} bytes were sent for {count} images"
            raise Refusal(what, which, f"Send {size} bytes per image")
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

    @property
    def features_version(self) -> int:
        return 1

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        return ()

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """float32 [N, height, width, channels] in low..high, not scaled."""
        return inputs.astype(np.float32).reshape(len(inputs), self.height, self.width, self.channels)

    def categories(self) -> tuple[int, ...]:
        return ()

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shifted by up to one pixel, with a little noise where the image is not black."""
        shifted = np.roll(inputs.astype(np.int32), rng.integers(-1, 2, size=2), axis=(1, 2))
        noise = rng.integers(-8, 9, size=inputs.shape) * max(1, self.high // 255)
        noisy = shifted + np.where(inputs > self.low, noise, 0)
        return noisy.clip(self.low, self.high).astype(self.dtype)

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """Each has a few rectangles of one colour on black."""
        images, sides = np.full((count, *self.shape), self.low, self.dtype), (self.height, self.width)
        for image in images:
            for _ in range(rng.integers(1, 5)):
                (top, bottom), (left, right) = (np.sort(rng.integers(0, side + 1, size=2)) for side in sides)
                colour = rng.integers(self.low + (self.high - self.low) // 6, self.high + 1, size=self.shape[2:])
                image[top : bottom + 1, left : right + 1] = colour
        return images

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Tiles: top, bottom, left, right."""
        side = math.isqrt(most)
        rows, columns = (np.linspace(0, n, min(side, n) + 1).round().astype(int).tolist() for n in self.shape[:2])
        return [(top, bottom, left, right) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        """The tile, and a border of its own size around it, gets the median brightness of the image's edge."""
        top, bottom, left, right = region
        height, width, occluded = bottom - top, right - left, input.copy()
        edge = np.concatenate([input[0, 0], input[0, -1], input[0, :, 0], input[0, :, -1]])  # [pixels] or [pixels, 3]
        rows = slice(max(top - height, 0), bottom + height)
        columns = slice(max(left - width, 0), right + width)
        occluded[0, rows, columns] = np.median(edge, axis=0)
        return occluded

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        return ""

    def render(self, input: np.ndarray) -> str:
        """A PNG as a data URI, at most 256 pixels wide."""
        pixels = (input[0].astype(float) - self.low) / (self.high - self.low) * 255 if self.high > 255 else input[0]
        picture, out = Image.fromarray(pixels.astype(np.uint8)), io.BytesIO()
        picture.thumbnail((256, 256))
        picture.save(out, "PNG")
        return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"

    def example(self) -> np.ndarray:
        return np.full((1, *self.shape), self.low, self.dtype)

    def _checked(self, array: np.ndarray, which: str) -> np.ndarray:
        if array.shape[1:] != self.shape or array.shape[:1] == (0,):
            what = f"the shape is {list(array.shape)}, not [N, {', '.join(map(str, self.shape))}]"
            raise Refusal(what, which, "Send exactly that shape")
        if (self.low, self.high, array.dtype) != _EVERY_BYTE:  # else nothing is outside
            require_range(array, self.low, self.high, which)
        return array.astype(self.dtype, copy=False)


_EVERY_BYTE = (0, 255, np.dtype("uint8"))
_Size = tuple[int, int]
_FILTER = Image.Resampling.BILINEAR


def _stretched(image: Image.Image, size: _Size) -> Image.Image:
    return image.resize(size, _FILTER)


def _cropped(image: Image.Image, size: _Size) -> Image.Image:
    return ImageOps.fit(image, size, _FILTER)


def _fit(image: Image.Image, size: _Size) -> Image.Image:
    return ImageOps.pad(image, size, _FILTER)


def _exact(image: Image.Image, size: _Size) -> Image.Image:
    raise AssertionError("another size is refused before")


_RESIZE = {"exact": _exact, "fit": _fit, "crop": _cropped, "stretch": _stretched}


def _depth(data: bytes) -> int:
    """Bits a sample: a PNG's header says so; JPEG has 8. Pillow reads 16-bit colours as 8."""
    return data[24] if data[:4] == b"\x89PNG" else 8


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
