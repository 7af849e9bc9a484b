"""Outlines a recipe for a folder of images."""

from collections import Counter
from itertools import islice
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ratchet.errors import Refusal
from ratchet.kinds.image.contract import FORMATS, ImageContract
from ratchet.kinds.image.sources import class_folders
from ratchet.lake.links import unreadable
from ratchet.lake.outline import Given, Outline, read

_LOOKED_AT = 2000
"""Images whose size and colours are looked at."""


def outline(source: Path, given: Given) -> Outline:
    """The size is the most frequent one; if there are others, they are cropped and scaled. Colour stays colour."""
    folders = class_folders(source) or [source] if source.is_dir() else []
    files = (p for folder in folders for p in sorted(folder.rglob("*")) if not unreadable(p, source))
    looks = [look for file in islice(files, _LOOKED_AT) if (look := _look(file))]
    if not looks:
        raise Refusal("it holds no folder of images", source, "Give a folder with one folder per class")
    sizes = Counter((width, height) for width, height, _ in looks)
    (width, height), most = sizes.most_common(1)[0]
    arguments = [f"height={height}", f"width={width}"]
    channels = 3 if any(colour for _, _, colour in looks) else 1
    arguments += ["channels=3"] * (channels == 3)
    resize = "exact" if most == len(looks) else "crop"
    arguments += [f'resize="{resize}"'] * (resize != "exact")
    contract = ImageContract(height, width, channels, resize)
    rows = read(source, contract, given.layout)
    family = "resnet" if channels == 3 and min(width, height) >= 32 else "cnn" if min(width, height) >= 16 else "rnn"
    return Outline(rows, contract, {"call": f"ImageContract({', '.join(arguments)})", "family": family})


def _look(file: Path) -> tuple[int, int, bool] | None:
    """Width, height, and whether it has colours; None if it cannot be read, which ingest will say."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size[::-1] if turned else image.size
            return width, height, image.mode not in ("1", "L", "LA") and not image.mode.startswith("I")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
