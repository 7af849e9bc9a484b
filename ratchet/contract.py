"""What an input is, held at ingest and at the endpoint by the same lines.

Travels inside every bento, so it needs only NumPy and Pillow.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
    dtype: ClassVar[str] = "uint8"
    low: ClassVar[int] = 0
    high: ClassVar[int] = 255

    @property
    def shape(self) -> tuple[int, int]:
        return (self.height, self.width)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

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

    def check_numbers(self, values: Any, which: str = "the input") -> np.ndarray:
        """The same for numbers that come without a type: nested lists, or an array of whole numbers."""
        want = f"[N, {self.height}, {self.width}] whole numbers"
        try:
            array = np.asarray(values)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Refusal("the array is ragged or holds no numbers", which, f"Send {want}") from error
        if array.size == 0:
            raise Refusal("there is nothing in it", which, f"Send {want}")
        if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
            raise Refusal(f"the values are not whole numbers ({array.dtype})", which, f"Send {want}")
        return self._fits(array, which)

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


def input_digest(array: np.ndarray) -> str:
    """SHA-256 of the decoded input alone: type, shape and bytes. Decides split and duplicates."""
    head = f"{array.dtype.str}:{'x'.join(map(str, array.shape))}:".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def record_digest(input_digest: str, label: str) -> str:
    """SHA-256 of input and label. Decides identity and the snapshot's fingerprint."""
    return hashlib.sha256(f"{input_digest}:{label}".encode()).hexdigest()


def _depth(data: bytes) -> int:
    """Bits a sample: a PNG's header says so; JPEG has 8. Pillow reads 16-bit colours as 8."""
    return data[24] if data[:4] == b"\x89PNG" else 8


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
