"""What a file is, its bytes say; whatever it claims, it costs no more than it is given."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ratchet.errors import Refusal
from ratchet.kinds.image import ImageContract
from ratchet.kinds.text import TextContract
from ratchet.lake import encoding, sources

CONTRACT = ImageContract(height=28, width=28)
LIMITS = sources.Limits(memory=256 << 20, disk=64 << 20)
Pictures = tuple[np.ndarray, np.ndarray]


def read(path: Path, tmp_path: Path, limits: sources.Limits = LIMITS) -> list[dict]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return sources.read(path, CONTRACT, limits, scratch).to_pylist()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(kind: str, folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """The same records in each of the formats."""
    folder.mkdir()
    names = folder / "odd.name"  # the name must not matter
    if kind in ("idx", "idx-gz"):
        pack = gzip.compress if kind == "idx-gz" else bytes
        (folder / "a").write_bytes(pack(idx(images)))
        (folder / "b").write_bytes(pack(idx(labels.astype(np.uint8))))
        return folder
    if kind == "npz":
        with names.open("wb") as file:
            np.savez(file, x=images, y=labels)
    elif kind == "parquet":
        pngs = []
        for image in images:
            out = io.BytesIO()
            Image.fromarray(image).save(out, "PNG")
            pngs.append(out.getvalue())
        pq.write_table(pa.table({"image": pngs, "label": labels.astype(int)}), names)
    elif kind == "parquet-lists":
        pq.write_table(pa.table({"image": [i.ravel().tolist() for i in images], "label": labels.astype(int)}), names)
    elif kind == "csv":
        rows = [",".join(["label", *(f"p{i}" for i in range(784))])]
        rows += [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]
        names.write_text("\n".join(rows))
    elif kind == "folder":
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            (folder / str(label)).mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / str(label) / f"{i:04}.png")
        return folder
    return names


@pytest.mark.parametrize("kind", ["idx", "idx-gz", "npz", "parquet", "parquet-lists", "csv", "folder"])
def test_every_format_gives_the_same_records(kind: str, pictures: Pictures, tmp_path: Path) -> None:
    images, labels = pictures[0][:20], pictures[1][:20]
    rows = read(write(kind, tmp_path / "in", images, labels), tmp_path)
    got = sorted((r["data"], r["label"]) for r in rows)
    assert got == sorted((i.tobytes(), str(n)) for i, n in zip(images, labels, strict=True))
    assert not any(r["reason"] for r in rows)


def bad_files(good: bytes) -> dict[str, bytes]:
    evil = pickle.dumps({"os": os.system})
    objects = io.BytesIO()
    np.savez(objects, x=np.array([{"a": 1}], dtype=object))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("run.sh", "touch /tmp/pwned")
    return {
        "empty": b"", "one byte": b"\0", "text": b"hello there, this is not a picture", "pickle": evil,
        "truncated idx": idx(np.zeros((5, 28, 28), np.uint8))[:-10], "idx header only": struct.pack(">HBB", 0, 8, 3),
        "idx too long": idx(np.zeros((2, 28, 28), np.uint8)) + b"x", "truncated gz": gzip.compress(good)[:-20],
        "object npz": objects.getvalue(),
        "zip of other things": packed.getvalue(), "truncated zip": objects.getvalue()[:60],
        "parquet magic alone": b"PAR1PAR1", "elf": b"\x7fELF" + bytes(60), "gif": b"GIF89a" + bytes(40),
        "one image": b"\x89PNG\r\n\x1a\n" + bytes(40), "csv without label": b"a,b,c\n1,2,3\n",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(bad_files(b"x" * 100)))
def test_a_bad_file_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bad_files(b"x" * 100)[name])
    with pytest.raises(Refusal) as caught:
        read(path, tmp_path)
    assert caught.value.next
    assert "Traceback" not in str(caught.value)


def npy_claiming(shape: str) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def write_bombs(folder: Path) -> dict[str, Path]:
    """Small files that claim, or unpack to, gigabytes."""
    (folder / "gz").write_bytes(gzip.compress(struct.pack(">HBBIII", 0, 8, 3, 4_000_000, 28, 28) + bytes(1 << 30), 1))
    (folder / "idx").write_bytes(struct.pack(">HBBIII", 0, 8, 3, 0xFFFFFFFF, 0xFFFF, 0xFFFF) + bytes(100))
    with zipfile.ZipFile(folder / "npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_claiming("(1000000, 28, 28)") + bytes(784_000_000))
    with zipfile.ZipFile(folder / "lie", "w") as archive:
        archive.writestr("x.npy", npy_claiming("(100000000000, 28, 28)") + bytes(100))
    same = pa.array([b"x" * (4 << 20)]).dictionary_encode()
    indices = pa.array(np.zeros(20_000, np.int32))
    table = pa.table({"image": pa.DictionaryArray.from_arrays(indices, same.dictionary), "label": ["1"] * 20_000})
    pq.write_table(table, folder / "parquet")
    return {p.name: p for p in folder.iterdir()}


MEASURE = """
import resource, sys
from pathlib import Path
from ratchet.errors import Refusal
from ratchet.kinds.image import ImageContract
from ratchet.kinds.text import TextContract
from ratchet.lake import encoding, sources
try:
    sources.read(Path(sys.argv[1]), ImageContract(28, 28), sources.Limits(256 << 20, 64 << 20), Path(sys.argv[2]))
except Refusal as refusal:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, refusal.next)
"""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_bombs(tmp_path_factory.mktemp("bombs"))


@pytest.mark.parametrize("name", ["gz", "idx", "npz", "lie", "parquet"])
def test_a_bomb_costs_no_more_than_the_setting(name: str, bombs: dict[str, Path], tmp_path: Path) -> None:
    # From a small process: a child's peak counts what it was forked from.
    command = [sys.executable, "-c", MEASURE, str(bombs[name]), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output, "the bomb was read as if it were data"
    assert int(output.split()[0]) < 256 + 300, "size_mb: the setting, and what the bare reader takes"
    assert sum(p.stat().st_size for p in tmp_path.rglob("*")) <= 64 << 20


def test_output_is_bounded_by_the_disk_setting(pictures: Pictures, tmp_path: Path) -> None:
    path = write("npz", tmp_path / "in", pictures[0], pictures[1])
    with pytest.raises(Refusal):
        read(path, tmp_path, sources.Limits(memory=256 << 20, disk=1 << 20))


def test_good_records_of_a_mixed_folder_go_on(pictures: Pictures, tmp_path: Path) -> None:
    folder = write("folder", tmp_path / "in", pictures[0][:5], pictures[1][:5])
    (folder / "3" / "broken.png").parent.mkdir(exist_ok=True)
    (folder / "3" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.new("L", (32, 32)).save(folder / "3" / "large.png")
    (folder / "stray.txt").write_text("no class")
    (folder / "stray.gz").write_bytes(b"\x1f\x8bbroken")
    rows = read(folder, tmp_path)
    assert len(rows) == 9
    assert sorted(bool(r["reason"]) for r in rows) == [False] * 5 + [True] * 4
    assert all(r["payload"] for r in rows if r["reason"])


def test_a_stray_quote_takes_no_other_record_with_it(pictures: Pictures, tmp_path: Path) -> None:
    path = write("csv", tmp_path / "in", pictures[0][:5], pictures[1][:5])
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(",", ',"', 1)
    path.write_text("\ufeff" + "\n".join(lines))  # as Excel writes it, with a mark at the beginning
    assert [bool(r["reason"]) for r in read(path, tmp_path)] == [False, True, False, False, False]


def test_pixels_are_taken_in_the_order_of_their_heading(pictures: Pictures, tmp_path: Path) -> None:
    backwards = [",".join(["label", *(f"pixel{i}" for i in range(784, 0, -1))])]
    for image, label in zip(*(p[:3] for p in pictures), strict=True):
        backwards.append(",".join(map(str, [label, *image.ravel()[::-1]])))
    (tmp_path / "a.csv").write_text("\n".join(backwards))
    assert [row["data"] for row in read(tmp_path / "a.csv", tmp_path)] == [image.tobytes() for image in pictures[0][:3]]


def test_an_npz_with_two_members_of_one_name_is_refused(pictures: Pictures, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=pictures[0][:3], y=pictures[1][:3])
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("y.npy", archive.read("y.npy"))
    with pytest.raises(Refusal, match=r"two members named y\.npy"):
        read(tmp_path / "a.npz", tmp_path)


def test_a_line_that_ends_before_its_label_is_refused_alone(pictures: Pictures, tmp_path: Path) -> None:
    rows = [",".join([*(f"p{i}" for i in range(784)), "label"])]
    rows += [
        ",".join(map(str, [*image.ravel(), label])) for image, label in zip(*(p[:3] for p in pictures), strict=True)
    ]
    (tmp_path / "a").write_text("\n".join([*rows, "1,2,3"]))
    assert [bool(r["reason"]) for r in read(tmp_path / "a", tmp_path)] == [False] * 3 + [True]


def test_a_name_that_is_not_utf8_is_read(pictures: Pictures, tmp_path: Path) -> None:
    folder = write("folder", tmp_path / "in", pictures[0][:2], pictures[1][:2])
    odd = os.fsencode(folder) + b"/\xff"
    os.makedirs(odd)
    Path(os.fsdecode(odd + b"/\xfe.png")).write_bytes(b"\x89PNG\r\n\x1a\n")
    assert len(read(folder, tmp_path)) == 3


def test_a_csv_row_that_is_wrong_is_refused_alone(pictures: Pictures, tmp_path: Path) -> None:
    path = write("csv", tmp_path / "in", pictures[0][:3], pictures[1][:3])
    path.write_text(path.read_text() + "\n1,2,3\n4," + ",".join(["256"] * 784) + "\n5," + ",".join(["x"] * 784))
    assert [bool(r["reason"]) for r in read(path, tmp_path)] == [False] * 3 + [True] * 3


def test_flat_images_are_refused_and_never_reshaped(pictures: Pictures, tmp_path: Path) -> None:
    flat = pictures[0][:3].reshape(3, 784)
    for dtype in (np.uint8, np.int64):
        np.savez(tmp_path / "flat.npz", x=flat.astype(dtype), y=pictures[1][:3])
        assert all(r["reason"] for r in read(tmp_path / "flat.npz", tmp_path))


def test_labels_are_never_guessed(pictures: Pictures, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", x=pictures[0][:3], fold=np.array([0, 1, 2]), label=pictures[1][:3])
    with pytest.raises(Refusal, match="could each be the labels"):
        read(tmp_path / "two.npz", tmp_path)


def test_a_killed_reader_is_reported_in_a_sentence(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a parser crashes: it takes the child down, and the parent says so."""
    dying = tmp_path / "python"
    dying.write_text(f"#!/bin/sh\n{sys.executable} -c 'import os; os.kill(os.getpid(), 11)'\nexit 139\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(Refusal, match="the reader stopped"):
        read(write("npz", tmp_path / "in", pictures[0][:3], pictures[1][:3]), tmp_path)


def test_a_source_that_gives_nothing_any_more_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_SECONDS", 2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refusal, match="nothing of it was read for 2 s"):
        sources.read(tmp_path / "pipe", TextContract(), LIMITS, tmp_path)


def test_a_damaged_list_of_images_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (28, 28)).save(folder / "a.png")
    lines = ["path,label", *["a.png,0"] * 1500, '"b.png,0', "a.png,0"]
    (folder / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(Refusal, match=r"line 150\d is not CSV"):
        read(folder, tmp_path)


@given(st.lists(st.integers(1, 3000), max_size=12))
def test_small_tables_are_put_together_and_no_row_is_lost(sizes: list[int]) -> None:
    names = iter(range(sum(sizes)))
    tables = [pa.Table.from_pylist([{"name": str(next(names))} for _ in range(size)]) for size in sizes]
    merged = list(encoding.merge(tables))
    assert [name for each in merged for name in each["name"].to_pylist()] == list(map(str, range(sum(sizes))))
    assert all(each.num_rows >= 2048 for each in merged[:-1])
    assert all(each["name"].num_chunks == 1 for each in merged)
