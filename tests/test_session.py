"""A model is run in bounded batches, on the requested device and on no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from bentos.model import Model, Unavailable
from ratchet.errors import Refusal
from ratchet.kinds.image import ImageContract
from ratchet.session import read_vocabulary, session, write_vocabulary
from tests.conftest import Built


@pytest.mark.parametrize("count", [1, 63, 64, 65, 130])
def test_many_inputs_are_answered_as_each_of_them_alone(built: Built, count: int) -> None:
    predict, inputs = built.exported.session(1), built.images[:count]
    assert predict.max_batch == 64
    alone = np.concatenate([predict(inputs[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(predict(inputs), alone, atol=1e-6)
    assert len(set(alone.argmax(axis=1))) > 1 or count == 1


def test_the_batches_of_large_inputs_are_smaller(built: Built) -> None:
    large = session(built.exported.path, ImageContract(1024, 1024))
    assert large.max_batch == 8


def test_a_model_never_moves_to_another_device_when_a_run_fails(built: Built) -> None:
    predict, count = built.exported.session(1), 0
    real = predict._onnx._sess

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def run(self, *_: object) -> None:
            nonlocal count
            count += 1
            raise EPFail("the device failed")

    predict._onnx._sess = Failing()
    with pytest.raises(EPFail, match="the device failed"):
        predict(built.images[:1])
    assert count == 1, "it is not run again elsewhere"


def test_too_little_memory_of_a_gpu_is_refused_before_the_gpu_is_used(built: Built) -> None:
    with pytest.raises(Refusal, match="CUDA itself takes 700"):
        session(built.exported.path, built.exported.contract, device="gpu", memory_mb=700)


def test_a_model_that_could_not_be_opened_is_tried_again_later(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model("small-fashion", built.exported.path, built.exported.contract, "gpu", 700)
    assert model.fault
    assert model.fault.which == "small-fashion", "a host looks for that"
    with pytest.raises(Unavailable, match="CUDA itself takes"):
        model(built.images[:1])
    model.device = "cpu"  # as if the GPU had come
    assert model.fault, "not at once"
    monkeypatch.setattr("bentos.model._RETRY_SECONDS", 0.0)
    assert model.fault is None
    assert model(built.images[:1]).shape == (1, 10)


def test_a_vocabulary_is_read_as_it_was_written(tmp_path: Path) -> None:
    vocabulary = ("", "a", "ü", "don't")
    assert read_vocabulary(tmp_path / "model.onnx") == ()
    write_vocabulary(tmp_path / "model.onnx", vocabulary)
    assert read_vocabulary(tmp_path / "model.onnx") == vocabulary
