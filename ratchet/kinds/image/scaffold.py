"""Outlines a recipe for a folder of images."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ratchet.errors import Refusal
from ratchet.kinds.image.contract import ImageContract
from ratchet.lake.outline import Outline, read


def outline(source: Path, target: str = "") -> Outline:
    """The size is that of the first image."""
    classes = (p for p in sorted(source.iterdir()) if p.is_dir() and p.name[0] != ".") if source.is_dir() else ()
    files = (p for folder in classes for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] != ".")
    first = next(iter(files), None)
    if first is None:
        raise Refusal("it holds no folder of images", source, "Give a folder with one folder per class")
    try:
        with Image.open(first, formats=("PNG", "JPEG")) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size[::-1] if turned else image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise Refusal("it is neither PNG nor JPEG", first, "Give PNG or JPEG files, one folder per class") from error
    rows = read(source, ImageContract(height, width))
    call = f"ImageContract(height={height}, width={width})"
    family = "cnn" if min(width, height) >= 16 else "rnn"
    return Outline(rows, {"call": call, "family": family})
