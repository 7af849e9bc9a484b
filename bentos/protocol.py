"""The Open Inference Protocol v2 with JSON and binary tensors, as bytes in and bytes out. Pure.

Source: https://github.com/kserve/open-inference-protocol (inference_rest.md) and, of Triton's server,
extension_binary_data.md, extension_model_configuration.md and extension_statistics.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from ratchet.answers import Answers
from ratchet.contract import Contract
from ratchet.endpoints import MAX_BATCH
from ratchet.errors import Refusal
from ratchet.tensors import Tensor, datatype_of, no

MAX_REQUEST_ID = 256
"""Characters of the id that a response repeats."""
_CONFIGURED = {"BYTES": "STRING"}
"""The names of datatypes that a model configuration spells in another way."""


@dataclass(frozen=True)
class Durations:
    """The requests of each outcome, and the seconds that they took together."""

    succeeded: tuple[int, float] = (0, 0.0)
    failed: tuple[int, float] = (0, 0.0)


@dataclass(frozen=True)
class InferenceRequest:
    """Inputs [N, ...], and the requested outputs by name, each binary or not."""

    id: str
    inputs: np.ndarray
    outputs: tuple[tuple[str, bool], ...]


def metadata(recipe: str, version: str, contract: Contract, answers: Answers) -> dict[str, Any]:
    """The response of `/v2/models/{model}`."""
    return {
        "name": recipe,
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": n, "datatype": datatype, "shape": [-1, *dims]} for n, datatype, dims in contract.tensors],
        "outputs": answers.metadata(),
        "parameters": {**answers.parameters(), "max_batch": MAX_BATCH},
    }


def config(recipe: str, contract: Contract, answers: Answers) -> dict[str, Any]:
    """The response of `/v2/models/{model}/config`: a model configuration as Triton's, whose sizes leave out N."""
    outputs = [(output["name"], output["datatype"], output["shape"][1:]) for output in answers.metadata()]
    return {
        "name": recipe,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": MAX_BATCH,
        "input": [_configured(*tensor) for tensor in contract.tensors],
        "output": [_configured(*output) for output in outputs],
    }


def _configured(name: str, datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    # Triton writes one number for each input as [1].
    return {"name": name, "data_type": f"TYPE_{_CONFIGURED.get(datatype, datatype)}", "dims": list(shape) or [1]}


def statistics(recipe: str, version: str, durations: Durations, answered: int, answered_at: float) -> dict[str, Any]:
    """The response of `/v2/models/{model}/stats`: requests and nanoseconds, and the rows that were answered."""
    spent = {"success": durations.succeeded, "fail": durations.failed}
    return {
        "name": recipe,
        "version": version,
        "last_inference": round(answered_at * 1000),
        "inference_count": answered,
        "execution_count": durations.succeeded[0],
        "inference_stats": {
            key: {"count": count, "ns": round(seconds * 1e9)} for key, (count, seconds) in spent.items()
        },
        "batch_stats": [],
    }


def decode(body: bytes, which: str) -> str:
    """The one rule for a JSON body: UTF-8, of which a byte order mark is left out (RFC 8259, section 8.1).

    Raises Refusal on any other encoding.
    """
    try:
        text = body.decode("utf-8-sig")
        if "\0" not in text[:4]:  # UTF-16 and UTF-32 of plain JSON are valid UTF-8, too
            return text
    except UnicodeDecodeError:
        pass
    raise Refusal("the body is not UTF-8", which, "Send JSON in UTF-8")


def read_json(body: bytes, which: str) -> Any:
    """The content of a JSON body in UTF-8. Raises Refusal if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:  # once more as Python's own reader has it: NaN, numbers of any length, a byte order mark
        return json.loads(decode(body, which))
    except (ValueError, RecursionError) as error:
        raise no("the body is not JSON", which) from error


def parse(body: bytes, header_length: str | None, contract: Contract, answers: Answers) -> InferenceRequest:
    """Parses the body of an inference request; `header_length` is the header `Inference-Header-Content-Length`.

    Raises Refusal for anything but inputs that satisfy the contract.
    """
    head, tail = _parts(body, header_length)
    # A caller's heads are mostly the same; of a request without binary tensors it is the whole body.
    layout_of = _known_layout if header_length is not None and len(head) <= _SHORT else _layout
    layout = layout_of(head, tuple(output["name"] for output in answers.metadata()))
    return InferenceRequest(layout.id, contract.from_tensors(_filled(layout.tensors, tail), MAX_BATCH), layout.outputs)


_SHORT = 1024
"""Bytes of a head that is kept."""


@dataclass(frozen=True)
class _Layout:
    """What the head of a request says: its tensors, each with the number of its bytes if it is binary."""

    id: str
    tensors: tuple[tuple[Tensor, int | None], ...]
    outputs: tuple[tuple[str, bool], ...]


def _layout(head: bytes, names: tuple[str, ...]) -> _Layout:
    """`names` are those of the outputs."""
    request = read_json(head, "the request")
    if not isinstance(request, dict):
        raise no("the body is not a JSON object", "the request")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
        raise no("the inputs are not a list of objects", "inputs")
    return _Layout(_id(request), tuple(map(_tensor, inputs)), _outputs(request, names))


_known_layout = lru_cache(maxsize=256)(_layout)


def _parts(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not re.fullmatch(r"[0-9]{1,9}", header_length) or int(header_length) > len(body):
        raise no("the header's length does not fit the body", "Inference-Header-Content-Length")
    return body[: int(header_length)], body[int(header_length) :]


def _id(request: Mapping[str, Any]) -> str:
    id = request.get("id", "")
    if not isinstance(id, str) or len(id) > MAX_REQUEST_ID or _has_surrogates(id):
        raise no(f"the id is not a string of at most {MAX_REQUEST_ID} characters", "id")
    return id


def _has_surrogates(text: str) -> bool:
    """Whether it holds half of a character, as `\\ud800` in JSON is, which no response can hold."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _tensor(item: Mapping[str, Any]) -> tuple[Tensor, int | None]:
    name, shape = str(item.get("name")), item.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise no("the shape is not a list of integers", name[:60])
    size = _parameters(item).get("binary_data_size")
    if size is not None and ("data" in item or type(size) is not int or size < 0):
        raise no(f"the binary data has no size, or values beside it, for shape {shape}", name[:60])
    return Tensor(name, str(item.get("datatype")), tuple(shape), item.get("data")), size


def _filled(tensors: Sequence[tuple[Tensor, int | None]], tail: bytes) -> list[Tensor]:
    """The tensors with their bytes, which follow each other in `tail`."""
    filled, at, binary = [], 0, False
    for tensor, size in tensors:
        if size is None:
            filled.append(tensor)
            continue
        if size > len(tail) - at:
            rest = f"{len(tail) - at} bytes, not the {size} of its size, for shape {list(tensor.shape)}"
            raise no(f"the binary data has {rest}", tensor.name[:60])
        raw, at, binary = tail[at : at + size], at + size, True
        filled.append(Tensor(tensor.name, tensor.datatype, tensor.shape, raw=raw))
    if at != len(tail):
        rest = f"the binary data has {len(tail) - at} bytes more than its sizes say"
        raise no(rest if binary else "bytes follow the JSON, and no input names their size", "binary_data_size")
    return filled


def _parameters(item: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise no("the parameters are not an object", "parameters")
    if "shared_memory_region" in parameters:
        raise no("shared memory is not supported", "parameters")
    return parameters


def _outputs(request: Mapping[str, Any], names: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    binary = _parameters(request).get("binary_data_output") is True
    outputs = request.get("outputs")
    if outputs is None or outputs == []:
        return tuple((name, binary) for name in names)
    if not isinstance(outputs, list) or not all(isinstance(o, dict) for o in outputs):
        raise no("the outputs are not a list of objects", "outputs")
    require_outputs([output.get("name") for output in outputs], names)
    if any(_parameters(output).get("classification") for output in outputs):
        raise no("the classification extension is not supported", "outputs")
    return tuple((output["name"], _parameters(output).get("binary_data", binary) is True) for output in outputs)


def require_outputs(requested: Sequence[Any], names: Sequence[str]) -> None:
    """Raises Refusal if a name is none of the outputs, or there are more than those."""
    for number, name in enumerate(requested):
        if name not in names:
            raise no(f"there is no output {str(name)[:60]!r}", f"outputs are: {', '.join(names)}")
        if number >= len(names):
            raise no("an output is requested twice", "outputs")


def render(
    request: InferenceRequest, tensors: Mapping[str, np.ndarray], recipe: str, version: str
) -> tuple[bytes, dict[str, str]]:
    """The response's body and headers, from the output tensors by name."""
    outputs = [(name, binary, tensors[name]) for name, binary in request.outputs]
    tail = b"".join([array.tobytes() for _, binary, array in outputs if binary])
    if all(binary for _, binary, _ in outputs):
        shapes = tuple((name, datatype_of(array), array.shape, array.nbytes) for name, _, array in outputs)
        head = _binary_head(request.id, shapes, recipe, version)
    else:
        described = [_described(name, array, binary) for name, binary, array in outputs]
        head = _head(request.id, described, recipe, version)
    if not tail:
        return head, {"content-type": "application/json"}
    return head + tail, {
        "content-type": "application/octet-stream", "inference-header-content-length": str(len(head)),
    }  # fmt: skip


def _described(name: str, array: np.ndarray, binary: bool) -> dict[str, Any]:
    output = {"name": name, "datatype": datatype_of(array), "shape": array.shape}
    return output | ({"parameters": {"binary_data_size": array.nbytes}} if binary else {"data": array.ravel()})


def _head(id: str, outputs: Sequence[Mapping[str, Any]], recipe: str, version: str) -> bytes:
    response = {"model_name": recipe, "model_version": version, **({"id": id} if id else {}), "outputs": outputs}
    return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)


@lru_cache(maxsize=256)
def _binary_head(
    id: str, outputs: tuple[tuple[str, str, tuple[int, ...], int], ...], recipe: str, version: str
) -> bytes:
    """The head of a response whose tensors are all binary: most callers get the same again and again."""
    described = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
        for name, datatype, shape, size in outputs
    ]
    return _head(id, described, recipe, version)
