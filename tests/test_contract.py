"""One rule for what an image is, at ingest and at the endpoint."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ratchet.contract import input_digest, record_digest
from ratchet.errors import Refusal
from ratchet.kinds.image import ImageContract

CONTRACT = ImageContract(height=28, width=28)
ramp = np.arange(784, dtype=np.uint16).reshape(28, 28)
grey = (ramp % 256).astype(np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@given(arrays(np.uint8, (28, 28)))
def test_a_grey_png_decodes_to_its_own_pixels(pixels: np.ndarray) -> None:
    assert (CONTRACT.decode(file_of(Image.fromarray(pixels))) == pixels).all()


def test_sixteen_bit_grey_is_shifted_not_clipped() -> None:
    deep = (grey.astype(np.uint16) << 8) + 17
    assert (CONTRACT.decode(file_of(Image.fromarray(deep))) == grey).all()


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = CONTRACT.decode(file_of(Image.fromarray(grey), exif=exif))
    assert (turned == np.rot90(grey, -1)).all()


def test_a_palette_becomes_its_colours() -> None:
    image = Image.fromarray(grey).convert("P")
    assert (CONTRACT.decode(file_of(image)) == np.asarray(image.convert("L"))).all()


def test_alpha_is_laid_over_black() -> None:
    rgba = np.zeros((28, 28, 4), np.uint8)
    rgba[..., :3] = 200
    rgba[:14, :, 3] = 255
    decoded = CONTRACT.decode(file_of(Image.fromarray(rgba)))
    assert (decoded[:14] == 200).all()
    assert (decoded[14:] == 0).all()


def test_colour_becomes_grey_by_luma() -> None:
    red = np.zeros((28, 28, 3), np.uint8)
    red[..., 0] = 255
    assert (CONTRACT.decode(file_of(Image.fromarray(red))) == 76).all()


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (6, 4), (4, 2)])
def test_colours_of_16_bit_are_refused(colour: int, samples: int) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 28, 28, 16, colour, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(28 * samples * 2)) * 28)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    with pytest.raises(Refusal, match="16 bit"):
        CONTRACT.decode(png)


@pytest.mark.parametrize("size", [(28, 27), (56, 28), (1, 784), (2000, 2000)])
def test_another_size_is_refused_and_never_scaled(size: tuple[int, int]) -> None:
    with pytest.raises(Refusal, match="pixels, not 28x28"):
        CONTRACT.decode(file_of(Image.new("L", size)))


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", file_of(Image.fromarray(grey))[:-30], file_of(Image.fromarray(grey), "BMP")],
)
def test_what_is_no_whole_png_or_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal):
        CONTRACT.decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    for prefix in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
        with pytest.raises(Refusal):
            CONTRACT.decode(prefix + data)


def with_exif(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a description", 72.0
    out = io.BytesIO()
    Image.fromarray(grey).save(out, kind, exif=exif)
    return out.getvalue()


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_a_damaged_image_is_refused_or_decoded_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([file_of(Image.fromarray(grey)), with_exif("PNG"), with_exif("JPEG")])))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert CONTRACT.decode(bytes(whole)).shape == (28, 28)
    except Refusal as refusal:
        assert refusal.next


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 784), np.uint8), np.zeros((28, 28), np.uint8), np.zeros((1, 1, 28, 28), np.uint8),
        np.zeros((1, 56, 28), np.uint8), np.zeros((0, 28, 28), np.uint8), np.zeros((1, 28, 28), np.float32),
        np.zeros((1, 28, 28), np.int64),
    ],
)  # fmt: skip
def test_arrays_are_never_reshaped_or_cast(array: np.ndarray) -> None:
    with pytest.raises(Refusal):
        CONTRACT.check(array)


@pytest.mark.parametrize("value", [256, -1, 0.5, True, "1", None, float("nan"), 10**30])
def test_numbers_out_of_the_contract_are_refused(value: object) -> None:
    with pytest.raises(Refusal):
        CONTRACT.read([[[value] * 28] * 28])


@given(arrays(np.uint8, (28, 28)), st.sampled_from(["0", "1", "9"]), st.sampled_from(["0", "1", "9"]))
def test_a_label_changes_the_record_and_not_the_input(pixels: np.ndarray, one: str, other: str) -> None:
    digest = input_digest(pixels)
    assert digest == input_digest(pixels.copy())
    assert (record_digest(digest, one) == record_digest(digest, other)) == (one == other)
