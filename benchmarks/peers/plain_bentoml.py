"""A model in BentoML as its documentation has it: an array as JSON in, an array as JSON out. `MODEL` names the file."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(http={"host": "127.0.0.1"}, workers=1, logging={"access": {"enabled": False}})
class Plain:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        (self.input,) = self.session.get_inputs()
        self.type = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}[self.input.type]

    @bentoml.api
    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.input.name: features.astype(self.type)})[0]
