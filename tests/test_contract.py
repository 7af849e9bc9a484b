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

from ratchet import kinds
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


def test_sixteen_bit_grey_keeps_its_values_and_an_8_bit_contract_refuses_it() -> None:
    deep = ramp * 5  # twelve bits of signal
    window = ImageContract(28, 28, low=100, high=3000)
    for kind in ("PNG", "TIFF"):
        decoded = window.decode(file_of(Image.fromarray(deep), kind))
        assert decoded.dtype == np.uint16
        assert (decoded == deep.clip(100, 3000)).all()
        with pytest.raises(Refusal, match="16 bits, and the contract 8"):
            CONTRACT.decode(file_of(Image.fromarray(deep), kind))
    assert (window.unpack(window.pack(decoded[None]), 1) == decoded).all()
    features = window.features(decoded[None])
    assert (features.shape, features.max()) == ((1, 28, 28, 1), 3000.0)


colours = np.stack([grey, grey.T, 255 - grey], axis=2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_colours_stay_as_they_are_in_every_format_without_loss(kind: str) -> None:
    data = file_of(Image.fromarray(colours), kind, **({"lossless": True} if kind == "WEBP" else {}))
    colour = ImageContract(28, 28, channels=3)
    assert (colour.decode(data) == colours).all()
    assert colour.note(data) == ""
    assert CONTRACT.note(data) == "its colours became grey"
    assert colour.unpack(colour.pack(colours[None]), 1).shape == (1, 28, 28, 3)
    assert (colour.read(colour.values(colours[None])) == colours).all()


def test_grey_in_a_colour_contract_and_alpha_by_the_rule() -> None:
    colour, alpha = ImageContract(28, 28, channels=3), ImageContract(28, 28, channels=4)
    assert (colour.decode(file_of(Image.fromarray(grey))) == grey[..., None]).all()
    half = np.dstack([colours, np.full_like(grey, 128)])
    assert (alpha.decode(file_of(Image.fromarray(half))) == half).all()
    laid = colour.decode(file_of(Image.fromarray(half))).astype(int)
    assert np.abs(laid - colours // 2).max() <= 1
    assert "its alpha was laid over black" in colour.note(file_of(Image.fromarray(half)))
    printing = io.BytesIO()
    Image.new("CMYK", (4, 4)).save(printing, "JPEG")
    assert "its four printing colours became red, green and blue" in colour.note(printing.getvalue())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(224, 224), (300, 100), (37, 411)])
def test_a_photo_of_any_size_becomes_one_of_the_contract_s_by_its_rule(size: tuple[int, int], channels: int) -> None:
    photo = file_of(Image.new("RGB", size, (200, 100, 50)), "JPEG")
    for resize in ("fit", "crop", "stretch"):
        contract = ImageContract(48, 64, channels=channels, resize=resize)
        image = contract.decode(photo)
        assert image.shape == contract.shape
        middle = image[24, 32]
        assert np.abs(middle.astype(int) - (np.array([200, 100, 50]) if channels == 3 else 124)).max() <= 3
        corner = image[0, 0].astype(int).max()
        assert corner < 10 if resize == "fit" and size[0] / size[1] != 64 / 48 else corner > 100
    with pytest.raises(Refusal, match="pixels, not 64x48"):
        ImageContract(48, 64, channels=channels).decode(photo)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(Refusal, match="more than 25,000,000"):
        ImageContract(28, 28, resize="fit").decode(file_of(Image.new("1", (6000, 6000))))


@pytest.mark.parametrize("wrong", [{"channels": 2}, {"resize": "bigger"}, {"low": 9, "high": 9},
                                   {"channels": 3, "high": 4095}, {"height": 0}])  # fmt: skip
def test_a_contract_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"channels|resize|low and high|pixels"):
        ImageContract(**{"height": 28, "width": 28, **wrong})


def test_the_json_of_a_plain_contract_is_that_of_0_1_0() -> None:
    assert CONTRACT.to_json() == {"kind": "image", "height": 28, "width": 28}
    colour = ImageContract(28, 28, channels=3, resize="crop")
    assert kinds.of(colour.to_json()) == colour


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
    [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", file_of(Image.fromarray(grey))[:-30], file_of(Image.fromarray(grey), "GIF")],
)
def test_what_is_no_whole_image_is_refused(data: bytes) -> None:
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
