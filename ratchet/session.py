"""The one way in which training, `measure` and a bento open an ONNX model and ask it, on a CPU or a GPU.

A bento holds this file.
"""

from __future__ import annotations

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
"""The file beside a model with the words that its contract's features need, one a line; none holds white space."""
_AT_ONCE, _BYTES = 64, 32 << 20
"""Inputs, and bytes of their features, that go through a model at once, whatever a caller sends: they bound what it
holds."""
_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""The judge saw full floats, and TF32 rounds them to ten bits: an int8 model was off by 0.014, fourteen times what a
golden set allows. For a batch of a new size the default search takes 30 ms on an H200, and this one 8."""
_CUDA_MB = 700
"""What CUDA, cuDNN and cuBLAS hold of a GPU beside the model: 640 to 690 MiB on an H200."""


@dataclass(frozen=True)
class Session:
    """An open model. Called with inputs [N, ...] as the contract has them, N at least 1, it answers [N, width]."""

    contract: Contract
    words: tuple[str, ...]
    at_once: int
    """Inputs that go through the model at once, at most."""
    _onnx: Any
    _turn: AbstractContextManager[Any]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        parts = (inputs[i : i + self.at_once] for i in range(0, len(inputs), self.at_once))
        return np.concatenate([self._run(self.contract.features(part, self.words)) for part in parts])

    def _run(self, features: np.ndarray) -> np.ndarray:
        with self._turn:
            answers: np.ndarray = self._onnx.run(None, {self.contract.kind: features})[0]
        return answers


def session(
    path: Path, contract: Contract, threads: int = 0, device: str = "cpu", memory_mb: int = 0
) -> Session:  # fmt: skip
    """Opens a model, with the words beside it, on so many threads; 0 are as many as there are cores.

    `memory_mb` is what the process may take of a GPU, CUDA's own share included; 0 is no limit. Raises Refusal where
    the device is not to be had here, or cannot do with so little: nothing ever falls back to another device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if device == "cpu":
        found = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    else:
        found = _on_gpu(path, options, device, memory_mb)
    words = read_words(path)
    one = contract.features(contract.made(1, np.random.default_rng(0)), words)
    # One at a time on a GPU, which would do no more side by side: so what is held is what one run needs.
    turn = nullcontext() if device == "cpu" else threading.Lock()
    return Session(contract, words, max(1, min(_AT_ONCE, _BYTES // one.nbytes)), found, turn)


def _on_gpu(path: Path, options: Any, device: str, memory_mb: int) -> Any:
    import onnxruntime

    if 0 < memory_mb <= _CUDA_MB:
        what = f"it may take {memory_mb} MB of the {device}, and CUDA itself takes {_CUDA_MB}"
        raise Refusal(what, path.name, "Raise memory_mb of its recipe")
    # The wheels that hold CUDA's libraries are not where a loader looks.
    onnxruntime.preload_dlls()
    if (wanted := "CUDAExecutionProvider") not in onnxruntime.get_available_providers():
        what = f"this host is to serve on a {device} and onnxruntime has no {wanted}"
        raise Refusal(what, path.name, "Install the group host-gpu, or set RATCHET_DEVICE=cpu")
    limit = {"gpu_mem_limit": str((memory_mb - _CUDA_MB) << 20)} if memory_mb else {}
    try:
        # By default ONNX Runtime goes over to the CPU when the GPU fails an answer, and goes on there.
        found = onnxruntime.InferenceSession(path, options, providers=[(wanted, _OPTIONS | limit)], enable_fallback=0)
        why = "" if found.get_providers()[0] == wanted else "its libraries did not load"
    except Exception as error:  # it has a class for each of its own
        why = _cause(error)
    if why:
        what = f"this host is to serve on a {device}, and it cannot be used ({why})"
        raise Refusal(what, path.name, "See its log, NVIDIA's driver (580 or newer), and memory_mb of its recipe")
    return found


def _cause(error: Exception) -> str:
    """What CUDA said, out of the names of templates around it."""
    said = re.search(r"CUDA failure \d+: [^;]*", str(error))
    return (said.group() if said else str(error)).strip()[:300]


def read_words(model: Path) -> tuple[str, ...]:
    """Those beside a model; none where it needs none."""
    beside = model.with_name(VOCABULARY)
    return tuple(beside.read_text(encoding="utf-8").split("\n")) if beside.exists() else ()


def write_words(model: Path, words: Sequence[str]) -> None:
    """Puts them beside a model."""
    model.with_name(VOCABULARY).write_text("\n".join(words), encoding="utf-8")
