"""Clip art in colour and of any size: what a picture shows, out of seven subjects.

From Debian's package openclipart-png 0.18 (public domain), whose folders are the subjects. A person does not always
agree with them: a cook is among the people or the food, and a sign may show an animal. So no model is right about all.
"""

import hashlib
import io
import lzma
import struct
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ratchet.kinds.image import ImageContract
from ratchet.recipe import Bound, Classification, Criteria, DataSet, Feed, Recipe, ReleasePlan, Suite, Training

_FILE = "openclipart-png_0.18+dfsg-19_all.deb"
_FOLDER = "./usr/share/openclipart/png/"
_SUBJECTS = ("animals", "food", "people", "plants", "recreation", "tools", "transportation")
_EVERY, _MAX_PIXELS = 6, 4_000_000
_BLANK = "9c722db0eccb30fb560897c65e9872f276efe8248f7926085fe0e3cc73fb3493"
"""A picture without a visible pixel."""


def _pictures(path: Path) -> Iterable[Mapping[str, Any]]:
    """The pictures of these subjects in an order without meaning; every sixth comes last, as benchmark.

    A few posters, which take seconds each, and a blank picture are left out.
    """
    records: list[dict[str, Any]] = []
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(_member(path, b"data.tar.xz")))) as archive:
        for member in archive:
            subject = member.name.removeprefix(_FOLDER).partition("/")[0]
            if member.isfile() and member.name.endswith(".png") and subject in _SUBJECTS:
                file = archive.extractfile(member)
                assert file is not None
                image = file.read()
                width, height = struct.unpack(">II", image[16:24])
                if width * height <= _MAX_PIXELS and hashlib.sha256(image).hexdigest() != _BLANK:
                    records.append({"image": image, "label": subject})
    records.sort(key=lambda record: hashlib.sha256(record["image"]).digest())
    chosen = records[::_EVERY]
    del records[::_EVERY]
    return [*records, *chosen]


def _member(path: Path, name: bytes) -> bytes:
    """A member of a Debian package, which is an archive of Unix's `ar`."""
    with path.open("rb") as file:
        file.seek(8)
        while header := file.read(60):
            size = int(header[48:58])
            if header[:16].strip().rstrip(b"/") == name:
                return file.read(size)
            file.seek(size + size % 2, 1)
    raise ValueError(f"the package has no {name.decode()}")


recipe = Recipe(
    name="clipart",
    version=1,
    purpose="Tells what a picture of clip art shows, as an example of images in colour. It is no use beside that.",
    contract=ImageContract(height=64, width=64, channels=4, resize="fit"),
    task=Classification(_SUBJECTS),
    data=DataSet(
        setting="clipart_dir",
        folders=(),
        url="https://deb.debian.org/debian/pool/main/o/openclipart/",
        files={_FILE: "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"},
        prepare=_pictures,
    ),
    batches=(Feed(_FILE, stop=1200), Feed(_FILE, start=1200, stop=1494)),
    benchmark=Feed(_FILE, start=1494),
    suite=Suite(max_duplicates=0.2, min_class_share=0.01, max_age_days=36500.0),
    training=Training(family="resnet", parameters={"filters": 16}, epochs=30, batch_size=32),
    criteria=Criteria(accuracy=0.35, worst_class=0.0, margin=0.05),
    release_plan=ReleasePlan(disagreed=Bound(0.5, 0.55)),
    show_inputs=True,
)
