"""The Open Inference Protocol's gRPC service, as the gateway hands it on: one message in a body of HTTP/1.1. Pure.

Envoy unframes a request and frames its answer, and the path names the model and the method. A status that gRPC would
have in its trailers is in two headers, from which Envoy makes them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from google.protobuf.message import DecodeError

from bentos import protocol
from bentos.grpc_messages import MESSAGES
from bentos.protocol import InferenceRequest
from ratchet.answers import Answers
from ratchet.contract import Contract
from ratchet.endpoints import EXTENSIONS, GRPC_MESSAGE, GRPC_STATUS, MAX_BATCH
from ratchet.errors import Refusal
from ratchet.tensors import Tensor, datatype_of, no

CONTENT_TYPE = "application/x-protobuf"
_STATUS = {400: 3, 404: 5, 413: 3, 415: 3, 429: 14, 503: 14, 504: 4}
"""gRPC's number for a status of HTTP: INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED; else INTERNAL."""
_INTERNAL = 13
_FALSE = b"\x08\x00"
"""A message whose first field is false."""


class Unknown(Refusal):
    """Of what is not served: a 404."""


def parse_message(method: str, body: bytes) -> Any:
    """The request of a method. Raises Refusal if the bytes are none."""
    try:
        return MESSAGES[f"{method}Request"].FromString(body)
    except DecodeError as error:
        raise no("the bytes are no message of this method", method) from error


def parse(body: bytes, contract: Contract, answers: Answers, version: str) -> InferenceRequest:
    """Parses a ModelInferRequest. Raises Refusal for anything but inputs that satisfy the contract."""
    message = parse_message("ModelInfer", body)
    require_version(message.model_version, version)
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        raise no(f"{len(raw)} raw contents were sent for {len(message.inputs)} inputs", "raw_input_contents")
    tensors = [
        Tensor(each.name, each.datatype, tuple(each.shape), raw=raw[number]) if raw else _typed(each)
        for number, each in enumerate(message.inputs)
    ]
    if any(size < 0 for tensor in tensors for size in tensor.shape):
        raise no("a shape has a negative size", "inputs")
    names = tuple(output["name"] for output in answers.metadata())
    requested = tuple(output.name for output in message.outputs) or names
    protocol.require_outputs(requested, names)
    inputs = contract.from_tensors(tensors, MAX_BATCH)
    if len(message.id) > protocol.MAX_REQUEST_ID:
        raise no(f"the id is longer than {protocol.MAX_REQUEST_ID} characters", "id")
    return InferenceRequest(message.id, inputs, tuple((name, True) for name in requested))


def require_version(wanted: str, version: str) -> None:
    """Raises Refusal if a request names another version than this."""
    if wanted and wanted != version:
        raise Unknown("there is no such version", wanted[:60], f"The one served is {version}")


def _typed(tensor: Any) -> Tensor:
    """A tensor whose values are in the field of their type."""
    fields = [values for _, values in tensor.contents.ListFields()]
    if len(fields) > 1:
        raise no("values are in the fields of several types", tensor.name[:60])
    count = len(fields[0]) if fields else 0
    if count != math.prod(tensor.shape):  # checked first, since many values take memory
        raise no(f"there are {count} values for the shape {list(tensor.shape)[:8]}", tensor.name[:60])
    values = list(fields[0]) if fields else []
    try:
        values = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise no("a text is not UTF-8", tensor.name[:60]) from error
    return Tensor(tensor.name, tensor.datatype, tuple(tensor.shape), data=values)


def render(request: InferenceRequest, tensors: Mapping[str, np.ndarray], recipe: str, version: str) -> bytes:
    """A ModelInferResponse, whose tensors are raw."""
    message = MESSAGES["ModelInferResponse"](model_name=recipe, model_version=version, id=request.id)
    for name, _ in request.outputs:
        array = tensors[name]
        message.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        message.raw_output_contents.append(array.tobytes())
    return bytes(message.SerializeToString())


def message_of(method: str, **fields: Any) -> bytes:
    """The response of a method with these fields."""
    # False is the default, for which no byte is sent; Envoy adds trailers to a body alone.
    return bytes(MESSAGES[f"{method}Response"](**fields).SerializeToString()) or _FALSE


def server_metadata() -> bytes:
    return message_of("ServerMetadata", name="ratchet", version="1", extensions=EXTENSIONS)


def model_metadata(recipe: str, version: str, contract: Contract, answers: Answers) -> bytes:
    described = protocol.metadata(recipe, version, contract, answers)
    fields = ("name", "versions", "platform", "inputs", "outputs")
    return message_of("ModelMetadata", **{field: described[field] for field in fields})


def refusal_messages(status: int, refusal: Refusal, headers: Sequence[tuple[bytes, bytes]]) -> Sequence[dict[str, Any]]:
    """The two messages of a response that refuses."""
    number = str(_STATUS.get(status, _INTERNAL)).encode()
    # gRPC's messages are percent-encoded (PROTOCOL-HTTP2.md).
    text = quote(str(refusal)[:1000], safe=" !\"#$&'()*+,-./:;<=>?@[]^_`{|}~").encode()
    length = (b"content-length", str(len(_FALSE)).encode())
    own = [(b"content-type", CONTENT_TYPE.encode()), length, (GRPC_STATUS.encode(), number),
           (GRPC_MESSAGE.encode(), text)]  # fmt: skip
    start = {"type": "http.response.start", "status": status, "headers": [*own, *headers]}
    return start, {"type": "http.response.body", "body": _FALSE}
