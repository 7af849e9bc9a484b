"""A model is opened and asked in one way: slice by slice, on the device that was asked for and on no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from bentos import model
from bentos.model import Model, Unavailable
from ratchet.errors import Refusal
from ratchet.images import ImageContract
from ratchet.session import read_vocabulary, session, write_vocabulary
from tests.conftest import Built


@pytest.mark.parametrize("count", [1, 63, 64, 65, 130])
def test_many_inputs_are_answered_as_each_of_them_alone(built: Built, count: int) -> None:
    ask, inputs = built.exported.asker(1), built.images[:count]
    assert ask.at_once == 64
    alone = np.concatenate([ask(inputs[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(ask(inputs), alone, atol=1e-6)
    assert len(set(alone.argmax(axis=1))) > 1 or count == 1


def test_fewer_large_inputs_go_through_at_once(built: Built) -> None:
    large = session(built.exported.path, ImageContract(1024, 1024))
    assert large.at_once == 8


def test_a_model_never_goes_over_to_another_device_when_an_answer_fails(built: Built) -> None:
    ask, count = built.exported.asker(1), 0
    real = ask._onnx._sess

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def run(self, *_: object) -> None:
            nonlocal count
            count += 1
            raise EPFail("the device failed")

    ask._onnx._sess = Failing()
    with pytest.raises(EPFail, match="the device failed"):
        ask(built.images[:1])
    assert count == 1, "it is not asked again elsewhere"


def test_too_little_of_a_gpu_is_refused_before_it_is_looked_for(built: Built) -> None:
    with pytest.raises(Refusal, match="CUDA itself takes 700"):
        session(built.exported.path, built.exported.contract, device="gpu", memory_mb=700)


def test_what_could_not_be_opened_is_tried_again_after_a_while(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Model("small-fashion", built.exported.path, built.exported.contract, "gpu", 700)
    assert found.fault
    assert found.fault.which == "small-fashion", "a host looks for that"
    with pytest.raises(Unavailable, match="CUDA itself takes"):
        found(built.images[:1])
    found.device = "cpu"  # as if the GPU had come
    assert found.fault, "not at each look"
    monkeypatch.setattr(model, "_AGAIN", 0.0)
    assert found.fault is None
    assert found(built.images[:1]).shape == (1, 10)


def test_words_come_back_as_they_were(tmp_path: Path) -> None:
    words = ("", "a", "ü", "don't")
    assert read_vocabulary(tmp_path / "model.onnx") == ()
    write_vocabulary(tmp_path / "model.onnx", words)
    assert read_vocabulary(tmp_path / "model.onnx") == words
