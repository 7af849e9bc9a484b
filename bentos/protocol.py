"""The Open Inference Protocol v2, JSON and binary tensors, as bytes in and bytes out. Pure.

Source: https://github.com/kserve/open-inference-protocol (inference_rest.md) and Triton's
extension_binary_data.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ratchet.contract import ImageContract
from ratchet.errors import Refusal

INPUT, PROBABILITIES, CLASS = "image", "probabilities", "class"
MAX_BATCH = 1024
_DATATYPES = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}


@dataclass(frozen=True)
class Asked:
    """One inference request: inputs [N, height, width] and which outputs are wanted, binary or not."""

    id: str
    images: np.ndarray
    outputs: tuple[tuple[str, bool], ...]


def metadata(recipe: str, version: str, contract: ImageContract, classes: tuple[str, ...]) -> dict[str, Any]:
    """The answer of `/v2/models/{m}`."""
    return {
        "name": recipe,
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": _DATATYPES[contract.dtype], "shape": [-1, *contract.shape]}],
        "outputs": [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, len(classes)]},
            {"name": CLASS, "datatype": "INT64", "shape": [-1]},
        ],
        "parameters": {"classes": list(classes), "max_batch": MAX_BATCH},
    }


def parse(body: bytes, header_length: str | None, contract: ImageContract) -> Asked:
    """An infer request's body; `header_length` is the header `Inference-Header-Content-Length`.

    Raises Refusal for whatever is not exactly one input that holds to the contract.
    """
    head, tail = _parts(body, header_length)
    try:
        request = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise _no("the body is no JSON", "the request") from error
    if not isinstance(request, dict):
        raise _no("the body is no JSON object", "the request")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _no("there is not exactly one input", "inputs")
    return Asked(_id(request), _tensor(inputs[0], tail, contract), _outputs(request))


def _parts(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not re.fullmatch(r"[0-9]{1,9}", header_length) or int(header_length) > len(body):
        raise _no("the header's length does not fit the body", "Inference-Header-Content-Length")
    return body[: int(header_length)], body[int(header_length) :]


def _id(request: Mapping[str, Any]) -> str:
    id = request.get("id", "")
    if not isinstance(id, str) or len(id) > 256:
        raise _no("the id is no string of at most 256 characters", "id")
    return id


def _tensor(item: Mapping[str, Any], tail: bytes, contract: ImageContract) -> np.ndarray:
    want = _DATATYPES[contract.dtype]
    if item.get("name") != INPUT:
        raise _no(f"there is no input {item.get('name')!r}", f"the one input is {INPUT!r}")
    if item.get("datatype") != want:
        raise _no(f"the type is {item.get('datatype')!r}, not {want!r}", INPUT)
    shape = item.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise _no("the shape is no list of whole numbers", INPUT)
    if len(shape) != 3 or tuple(shape[1:]) != contract.shape or not 0 < shape[0] <= MAX_BATCH:
        raise _no(f"the shape is {shape}, not [1..{MAX_BATCH}, {contract.height}, {contract.width}]", INPUT)
    count = int(np.prod(shape))
    size = _parameters(item).get("binary_data_size")
    if size is not None:
        if (
            "data" in item
            or type(size) is not int
            or size != len(tail)
            or size != count * np.dtype(contract.dtype).itemsize
        ):
            raise _no(f"the binary data has {len(tail)} bytes and names {size!r}, for shape {shape}", INPUT)
        return contract.check(np.frombuffer(tail, contract.dtype).reshape(shape), INPUT)
    if tail:
        raise _no("bytes follow the JSON that no input names", "binary_data_size")
    return contract.check_numbers(_numbers(item.get("data"), count, want).reshape(shape), INPUT)


def _numbers(data: Any, count: int, want: str) -> np.ndarray:
    """JSON data, flat or nested in row-major order."""
    # Looked at before NumPy does: a long list of nothing takes seconds to turn into an array.
    if not isinstance(data, list) or len(data) > count:
        raise _no(f"the data is not {count} whole numbers of type {want}", INPUT)
    try:
        array = np.array(data)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _no("the data is ragged or holds no numbers", INPUT) from error
    if data is None or array.dtype == bool or not np.issubdtype(array.dtype, np.integer) or array.size != count:
        raise _no(f"the data is not {count} whole numbers of type {want}", INPUT)
    return array


def _parameters(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _no("the parameters are no object", "parameters")
    return found


def _outputs(request: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    binary = _parameters(request).get("binary_data_output") is True
    asked = request.get("outputs")
    if asked is None or asked == []:
        return ((PROBABILITIES, binary), (CLASS, binary))
    if not isinstance(asked, list) or not all(isinstance(o, dict) for o in asked):
        raise _no("the outputs are no list of objects", "outputs")
    wanted = []
    for output in asked:
        if output.get("name") not in (PROBABILITIES, CLASS):
            raise _no(f"there is no output {output.get('name')!r}", f"outputs are {PROBABILITIES!r} and {CLASS!r}")
        if _parameters(output).get("classification"):
            raise _no("the classification extension is not spoken", "outputs")
        wanted.append((output["name"], _parameters(output).get("binary_data", binary) is True))
    return tuple(wanted)


def render(asked: Asked, probabilities: np.ndarray, recipe: str, version: str) -> tuple[bytes, dict[str, str]]:
    """The answer's body and headers, from probabilities [N, classes]."""
    arrays = {PROBABILITIES: probabilities.astype(np.float32), CLASS: probabilities.argmax(axis=1).astype(np.int64)}
    outputs, tails = [], []
    for name, binary in asked.outputs:
        array = arrays[name]
        output: dict[str, Any] = {"name": name, "datatype": _DATATYPES[str(array.dtype)], "shape": list(array.shape)}
        if binary:
            tails.append(array.tobytes())
            output["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            output["data"] = array.ravel().tolist()
        outputs.append(output)
    answer = {"model_name": recipe, "model_version": version, "id": asked.id, "outputs": outputs}
    head = json.dumps({k: v for k, v in answer.items() if v != ""}).encode()
    if not tails:
        return head, {"content-type": "application/json"}
    return head + b"".join(tails), {
        "content-type": "application/octet-stream", "inference-header-content-length": str(len(head)),
    }  # fmt: skip


def _no(what: str, which: str) -> Refusal:
    return Refusal(what, which, "See the metadata at /v2/models/<recipe>")
