"""The messages of the Open Inference Protocol's gRPC service, as the protocol buffers that its clients send.

Source: https://github.com/kserve/open-inference-protocol (open_inference_grpc.proto). What is sent has the numbers and
types of fields, and no names of messages.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "ratchet.inference"
"""Of one's own, since the protocol's own package is registered by the clients' libraries."""
_PARAMETERS = "map<InferParameter>"
_TENSOR = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "repeated int64")}
_FILLED_TENSOR = _TENSOR | {"parameters": (4, _PARAMETERS), "contents": (5, "InferTensorContents")}
_NAMED = {"name": (1, "string"), "version": (2, "string")}
_INFERENCE = {"model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
              "parameters": (4, _PARAMETERS)}  # fmt: skip
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": _NAMED | {"extensions": (3, "repeated string")},
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ModelMetadataRequest": _NAMED,
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": {
        "name": (1, "string"), "versions": (2, "repeated string"), "platform": (3, "string"),
        "inputs": (4, "repeated TensorMetadata"), "outputs": (5, "repeated TensorMetadata"),
    },
    "InferParameter": {"bool_param": (1, "bool"), "int64_param": (2, "int64"), "string_param": (3, "string")},
    "InferTensorContents": {
        "bool_contents": (1, "repeated bool"), "int_contents": (2, "repeated int32"),
        "int64_contents": (3, "repeated int64"), "uint_contents": (4, "repeated uint32"),
        "uint64_contents": (5, "repeated uint64"), "fp32_contents": (6, "repeated float"),
        "fp64_contents": (7, "repeated double"), "bytes_contents": (8, "repeated bytes"),
    },
    "InferTensor": _FILLED_TENSOR,
    "InferRequestedOutput": {"name": (1, "string"), "parameters": (2, _PARAMETERS)},
    "ModelInferRequest": _INFERENCE | {
        "inputs": (5, "repeated InferTensor"), "outputs": (6, "repeated InferRequestedOutput"),
        "raw_input_contents": (7, "repeated bytes"),
    },
    "ModelInferResponse": _INFERENCE | {
        "outputs": (5, "repeated InferTensor"), "raw_output_contents": (6, "repeated bytes"),
    },
}  # fmt: skip
_Field = descriptor_pb2.FieldDescriptorProto


def _describe(message: Any, fields: dict[str, tuple[int, str]]) -> None:
    """Adds these fields to the description of a message."""
    for name, (number, kind) in fields.items():
        field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
        if kind.startswith("repeated "):
            field.label, kind = _Field.LABEL_REPEATED, kind.removeprefix("repeated ")
        if kind.startswith("map<"):  # a map is a list of entries
            entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
            entry.options.map_entry = True
            _describe(entry, {"key": (1, "string"), "value": (2, kind[4:-1])})
            field.label, kind = _Field.LABEL_REPEATED, f"{message.name}.{entry.name}"
        if kind[0].isupper():
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
        else:
            field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        _describe(file.message_type.add(name=name), fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


MESSAGES = _classes()
"""The class of each message, by its name."""
