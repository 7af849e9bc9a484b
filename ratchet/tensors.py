"""Tensors of the Open Inference Protocol, and how an input is made of them. This file travels inside every bento."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.contract import nan_for_null, require_numbers
from ratchet.errors import Refusal

if TYPE_CHECKING:
    from ratchet.contract import Contract

Spec = tuple[str, str, tuple[int, ...]]
"""Name, datatype, and the shape without N."""
_DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8", "BOOL": "?"}
"""NumPy's types of binary data, little-endian (Triton's extension_binary_data.md)."""
_PART = 1 << 15
"""Values that are read at a time: NumPy holds Python's lock meanwhile, and requests wait for that."""
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


@dataclass(frozen=True)
class Tensor:
    """A tensor as it came: values in JSON, flat or nested in row-major order, or bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any = None
    raw: bytes | None = None

    def vector(self, most: int) -> list[Any]:
        """The values of a tensor [N] or [N, 1] in Python's types. Raises Refusal for another shape, or if N is above.

        An empty text is missing, as NaN is.
        """
        if len(self.shape) not in (1, 2) or self.shape[1:] not in ((), (1,)) or not 0 < self.shape[0] <= most:
            raise no(f"the shape is {list(self.shape)}, not [1..{most}] or [1..{most}, 1]", self.name)
        if self.raw is None:
            if not isinstance(self.data, list) or len(self.data) != self.shape[0]:
                raise no(f"the data is not {self.shape[0]} values", self.name)
            return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in self.data]
        return texts(self.raw, self.shape[0], self.name) if self.datatype == "BYTES" else self._numbers(self.raw)

    def _numbers(self, raw: bytes) -> list[Any]:
        if self.datatype not in _DTYPES:
            raise no(f"the type is {self.datatype[:60]!r}, not one of BYTES, {', '.join(_DTYPES)}", self.name)
        dtype = np.dtype(_DTYPES[self.datatype])
        if len(raw) != self.shape[0] * dtype.itemsize:
            raise no(f"{len(raw)} bytes were sent for {self.shape[0]} values of {self.datatype}", self.name)
        return np.frombuffer(raw, dtype).tolist()


def datatype_of(array: np.ndarray) -> str:
    """The datatype of an output tensor, which is of one of NumPy's types above."""
    return _NAMES[array.dtype]


def no(what: str, which: str) -> Refusal:
    return Refusal(what, which, "See the metadata at /v2/models/<recipe>")


def texts(data: bytes, count: int, which: str) -> list[str]:
    """Each of `count` texts after its length in four bytes. Raises Refusal if there are others."""
    values: list[str] = []
    at = 0
    try:
        while at < len(data) and len(values) <= count:
            (length,) = struct.unpack_from("<I", data, at)
            value = data[at + 4 : at + 4 + length]
            if len(value) != length:
                raise ValueError("the last one is cut off")
            values.append(value.decode("utf-8"))
            at += 4 + length
    except (struct.error, ValueError) as error:
        raise no(f"the bytes are no list of texts ({error})", which) from error
    if len(values) != count:
        raise no(f"{len(values)} texts were sent, not {count}", which)
    return values


def from_texts(values: Sequence[str]) -> bytes:
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


def vector_of(name: str, datatype: str, values: np.ndarray) -> Tensor:
    """The tensor [N] of these values as bytes."""
    raw = from_texts(values.tolist()) if datatype == "BYTES" else values.astype(_DTYPES[datatype]).tobytes()
    return Tensor(name, datatype, (len(values),), raw=raw)


def single(contract: "Contract", tensors: Sequence[Tensor], most: int) -> np.ndarray:
    """The inputs [N, ...] of a contract that takes one tensor of them. Raises Refusal for anything else."""
    if len(tensors) != 1:
        raise no("there is not exactly one input", "inputs")
    (tensor,), (name, datatype, dims) = tensors, contract.tensors[0]
    if tensor.name != name:
        raise no(f"there is no input {tensor.name[:60]!r}", f"the one input is {name!r}")
    if tensor.datatype != datatype:
        raise no(f"the type is {tensor.datatype[:60]!r}, not {datatype!r}", name)
    if len(tensor.shape) != 1 + len(dims) or tensor.shape[1:] != dims or not 0 < tensor.shape[0] <= most:
        wanted = ", ".join(map(str, (f"1..{most}", *dims)))
        raise no(f"the shape is {str(list(tensor.shape))[:60]}, not [{wanted}]", name)
    if tensor.raw is not None:
        return contract.unpack(tensor.raw, tensor.shape[0], name)
    return contract.read(_shaped(tensor.data, tensor.shape, name), name)


def whole(contract: "Contract", inputs: np.ndarray) -> Tensor:
    """The inputs [N, ...] of such a contract as one tensor."""
    ((name, datatype, dims),) = contract.tensors
    return Tensor(name, datatype, (len(inputs), *dims), raw=contract.pack(inputs))


def _shaped(data: Any, shape: tuple[int, ...], name: str) -> Any:
    """JSON data in their shape; texts are a flat list."""
    count = math.prod(shape)
    # Checked first, since NumPy takes seconds to read a long list of nothing.
    if not isinstance(data, list) or len(data) > count:
        raise no(f"the data is not {count} values", name)
    if len(shape) == 1:
        if len(data) != count:
            raise no(f"the data has {len(data)} values, not {count}", name)
        return data
    try:
        if None in data or any(isinstance(part, list) and None in part for part in data):
            data = nan_for_null(data)
        parts = [data[at : at + _PART] for at in range(0, max(1, len(data)), _PART)]
        for part in parts:
            require_numbers(part, name, "numbers")
        array = np.concatenate([np.array(part) for part in parts])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise no("the data is ragged or holds something else than numbers", name) from error
    if array.size != count:
        raise no(f"the data has {array.size} values, not {count}", name)
    return array.reshape(shape)
