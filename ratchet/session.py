"""Opens an ONNX model, on a CPU or a GPU: the one way for training, the latency benchmark and a bento.

A bento holds this file.
"""

import re
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.contract import Contract
from ratchet.errors import Refusal

VOCABULARY = "vocabulary.txt"
"""The file beside a model with its vocabulary, one word per line; no word holds white space."""
_MAX_BATCH, _MAX_BYTES = 64, 32 << 20
"""The inputs, and the bytes of their features, that go through a model at once, however many a caller sends. They
bound the memory that it takes."""
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""TF32 rounds to ten bits: an int8 model was off by 0.014, fourteen times the tolerance of a golden set. The default
search for an algorithm takes 30 ms on an H200 for every new batch size, and this one 8."""
_CUDA_MB = 700
"""Memory of a GPU that CUDA, cuDNN and cuBLAS take beside the model: 640 to 690 MiB on an H200."""


@dataclass(frozen=True)
class Session:
    """An open model: called with inputs [N, ...], N at least 1, it returns outputs [N, width]."""

    contract: Contract
    vocabulary: tuple[str, ...]
    max_batch: int
    """The largest number of inputs that go through the model at once."""
    _onnx: Any
    _lock: AbstractContextManager[Any]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        if len(inputs) <= self.max_batch:
            return self._run(self.contract.features(inputs, self.vocabulary))
        batches = (inputs[i : i + self.max_batch] for i in range(0, len(inputs), self.max_batch))
        return np.concatenate([self._run(self.contract.features(batch, self.vocabulary)) for batch in batches])

    def _run(self, features: np.ndarray) -> np.ndarray:
        with self._lock:
            outputs: np.ndarray = self._onnx.run(None, {self.contract.kind: features})[0]
        return outputs


def session(path: Path, contract: Contract, threads: int = 0, device: str = "cpu", memory_mb: int = 0) -> Session:
    """Opens a model with the vocabulary beside it; 0 threads means as many as there are cores.

    `memory_mb` limits what the process takes of a GPU, CUDA's own share included; 0 is no limit. Raises Refusal if
    the device is missing or its memory does not suffice. There is never a fallback to another device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if device == "cpu":
        onnx = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    else:
        onnx = _on_gpu(path, options, device, memory_mb)
    vocabulary = read_vocabulary(path)
    example = contract.features(contract.synthesize(1, np.random.default_rng(0)), vocabulary)
    # One run at a time on a GPU, which is no faster with two: so the memory taken is that of one run.
    lock = nullcontext() if device == "cpu" else threading.Lock()
    return Session(contract, vocabulary, max(1, min(_MAX_BATCH, _MAX_BYTES // example.nbytes)), onnx, lock)


def _on_gpu(path: Path, options: Any, device: str, memory_mb: int) -> Any:
    import onnxruntime

    if 0 < memory_mb <= _CUDA_MB:
        what = f"the limit is {memory_mb} MB of the {device}, and CUDA itself takes {_CUDA_MB}"
        raise Refusal(what, path.name, "Raise memory_mb of its recipe")
    # The loader does not search the wheels that hold CUDA's libraries.
    onnxruntime.preload_dlls()
    provider = "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        what = f"this host serves on a {device}, and onnxruntime has no {provider}"
        raise Refusal(what, path.name, "Install the group host-gpu, or set RATCHET_DEVICE=cpu")
    limit = {"gpu_mem_limit": str((memory_mb - _CUDA_MB) << 20)} if memory_mb else {}
    try:
        # By default ONNX Runtime moves to the CPU when one run fails on the GPU, and stays there.
        providers = [(provider, _CUDA_OPTIONS | limit)]
        onnx = onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
        why = "" if onnx.get_providers()[0] == provider else "its libraries did not load"
    except Exception as error:  # ONNX Runtime has many exception types
        why = _cause(error)
    if why:
        what = f"this host serves on a {device}, which cannot be used ({why})"
        raise Refusal(what, path.name, "See its log, NVIDIA's driver (580 or newer), and memory_mb of its recipe")
    return onnx


def _cause(error: Exception) -> str:
    """CUDA's own message, out of the template names around it."""
    match = re.search(r"CUDA failure \d+: [^;]*", str(error))
    return (match.group() if match else str(error)).strip()[:300]


def read_vocabulary(model: Path) -> tuple[str, ...]:
    """The vocabulary beside a model; empty if it needs none."""
    path = model.with_name(VOCABULARY)
    return tuple(path.read_text(encoding="utf-8").split("\n")) if path.exists() else ()


def write_vocabulary(model: Path, vocabulary: Sequence[str]) -> None:
    model.with_name(VOCABULARY).write_text("\n".join(vocabulary), encoding="utf-8")
