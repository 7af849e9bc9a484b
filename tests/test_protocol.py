"""The Open Inference Protocol: what goes in comes out, and whatever else is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bentos import protocol
from ratchet.errors import Refusal
from ratchet.kinds.image import ImageContract
from ratchet.tasks.classification import Classification

CONTRACT, ANSWERS = ImageContract(height=4, width=3), Classification(tuple("0123456789"))
images = arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(4), st.just(3)))


def body(array: np.ndarray, **changes: object) -> bytes:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(array.shape), "data": array.tolist(), **changes}
    return json.dumps({"inputs": [tensor]}).encode()


def binary(array: np.ndarray, size: int | None = None) -> tuple[bytes, str]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(array.shape),
              "parameters": {"binary_data_size": array.nbytes if size is None else size}}  # fmt: skip
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + array.tobytes(), str(len(head))


@given(images)
def test_json_nested_json_flat_and_binary_are_the_same(array: np.ndarray) -> None:
    nested = protocol.parse(body(array), None, CONTRACT, ANSWERS)
    flat = protocol.parse(body(array, data=array.ravel().tolist()), None, CONTRACT, ANSWERS)
    packed = protocol.parse(*binary(array), CONTRACT, ANSWERS)
    for request in (nested, flat, packed):
        assert (request.inputs == array).all()
        assert request.inputs.dtype == np.uint8


@given(arrays(np.float32, (3, 10), elements=st.floats(0, 1, width=32)), st.booleans())
def test_a_response_holds_the_requested_outputs(probabilities: np.ndarray, packed: bool) -> None:
    request = protocol.InferenceRequest(
        "me", np.zeros((3, 4, 3), np.uint8), (("probabilities", packed), ("class", False))
    )
    sent, headers = protocol.render(request, ANSWERS.tensors(probabilities), "r", "7")
    head = sent[: int(headers["inference-header-content-length"])] if packed else sent
    response = json.loads(head)
    assert (response["model_name"], response["model_version"], response["id"]) == ("r", "7", "me")
    got = (
        np.frombuffer(sent[len(head) :], np.float32) if packed else np.array(response["outputs"][0]["data"], np.float32)
    )
    assert (got.reshape(3, 10) == probabilities).all()
    assert response["outputs"][1]["data"] == probabilities.argmax(axis=1).tolist()


zero = np.zeros((1, 4, 3), np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1, 12]}, {"shape": [1, 3, 4]}, {"shape": [12]}, {"shape": [2, 4, 3]}, {"shape": [0, 4, 3]},
        {"shape": [-1, 4, 3]}, {"shape": [1.0, 4, 3]}, {"shape": [True, 4, 3]}, {"shape": "1,4,3"}, {"shape": None},
        {"shape": [10**9, 4, 3]}, {"datatype": "FP32"}, {"datatype": None}, {"name": "x"}, {"data": None}, {"data": []},
        {"data": [[0.5] * 12]}, {"data": ["0"] * 12}, {"data": [256] * 12}, {"data": [-1] * 12}, {"data": [True] * 12},
        {"data": [[]] * 100_000}, {"data": [[0] * 3, [0] * 2]}, {"data": {"a": 1}}, {"data": [10**40] * 12}, {"data": "http://127.0.0.1/x"},
        {"parameters": {"binary_data_size": 12}}, {"parameters": []}, {"parameters": {"binary_data_size": "12"}},
    ],
)  # fmt: skip
def test_an_input_out_of_the_contract_is_refused(changes: dict) -> None:
    with pytest.raises(Refusal):
        protocol.parse(body(zero, **changes), None, CONTRACT, ANSWERS)


@pytest.mark.parametrize("length", ["-1", "x", "99999", "1.5", "٣", "", "9" * 5000])
def test_a_header_length_that_does_not_fit_is_refused(length: str) -> None:
    with pytest.raises(Refusal):
        protocol.parse(binary(zero)[0], length, CONTRACT, ANSWERS)


@pytest.mark.parametrize("size", [0, 11, 13, 10**12, -12])
def test_a_binary_size_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(Refusal):
        protocol.parse(*binary(zero, size), CONTRACT, ANSWERS)


def test_bytes_after_json_are_refused() -> None:
    sent = body(zero)
    with pytest.raises(Refusal):
        protocol.parse(sent + b"more", str(len(sent)), CONTRACT, ANSWERS)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["name", "data", "inputs", "x"]), inner)
    ),
)
keys = st.sampled_from(["inputs", "outputs", "id", "parameters"])
tensors = st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "shape", "datatype", "data", "parameters"), values))


@given(st.dictionaries(keys, values | st.lists(tensors, max_size=2)) | values, st.none() | st.text(max_size=4))
def test_no_body_raises_anything_but_a_refusal(request: object, length: str | None) -> None:
    try:
        protocol.parse(json.dumps(request).encode(), length, CONTRACT, ANSWERS)
    except Refusal as refusal:
        assert refusal.next


@given(st.binary(max_size=200), st.none() | st.integers(0, 200).map(str))
def test_no_bytes_raise_anything_but_a_refusal(sent: bytes, length: str | None) -> None:
    with pytest.raises(Refusal):
        protocol.parse(sent, length, CONTRACT, ANSWERS)


def test_a_deeply_nested_body_is_refused() -> None:
    for sent in (b"[" * 200_000, b'{"inputs":' + b"[" * 200_000):
        with pytest.raises(Refusal):
            protocol.parse(sent, None, CONTRACT, ANSWERS)
