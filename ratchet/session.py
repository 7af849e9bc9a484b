"""The one way in which training, `measure` and a bento open an ONNX model, on a CPU or a GPU.

A bento holds this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ratchet.errors import Refusal

AT_ONCE = 64
"""Inputs that a model is asked at a time at most, whatever a caller sends: what it holds is bounded by that."""
_EXACT = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""The judge saw answers of full floats, so no host rounds them to ten bits: an int8 model was off by 0.014. The default
search times every algorithm for each new size of a batch while callers wait: 30 ms on an H200, this way 8."""
_CUDA_MB = 700
"""What CUDA, cuDNN and cuBLAS hold of a GPU beside the model: 640 to 690 MiB, seen on an H200."""


def session(path: Path, threads: int = 0, device: str = "cpu", memory_mb: int = 0) -> Any:
    """An `onnxruntime.InferenceSession` on so many threads; 0 are as many as there are cores.

    `memory_mb` is the most that a process may take of a GPU, CUDA's own share included; 0 is no limit. Raises Refusal
    where the device is not to be had here, or cannot do with so little: it never falls back to another.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if device == "cpu":
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted, mend = "CUDAExecutionProvider", "Mend the host, or set RATCHET_DEVICE=cpu"
    # The wheels that hold CUDA's libraries are not where a loader looks.
    onnxruntime.preload_dlls()
    if wanted not in onnxruntime.get_available_providers():
        raise Refusal(f"this host is to serve on a {device} and onnxruntime has no {wanted}", path.name, mend)
    if 0 < memory_mb <= _CUDA_MB:
        what = f"it may take {memory_mb} MB of the {device}, and CUDA takes {_CUDA_MB} of them"
        raise Refusal(what, path.name, "Raise memory_mb of its recipe")
    limit = {"gpu_mem_limit": str(memory_mb - _CUDA_MB << 20)} if memory_mb else {}
    made = onnxruntime.InferenceSession(path, options, providers=[(wanted, _EXACT | limit)])
    if made.get_providers()[0] != wanted:
        raise Refusal(f"this host is to serve on a {device} and onnxruntime finds none", path.name, mend)
    return made
