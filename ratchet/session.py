"""The one way in which training, `measure` and a bento open an ONNX model, on a CPU or a GPU.

A bento holds this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ratchet.errors import Refusal

_EXACT = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""The judge saw answers of full floats, so no host rounds them to ten bits; and the default search times every
algorithm anew for each size of a batch, while callers wait."""


def session(path: Path, threads: int = 0, device: str = "cpu", memory_mb: int = 0) -> Any:
    """An `onnxruntime.InferenceSession` on so many threads; 0 are as many as there are cores.

    `memory_mb` is the most that its arena takes of a GPU; 0 is no limit. Raises Refusal where the device is not to be
    had here: it never falls back to another.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if device == "cpu":
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted, mend = "CUDAExecutionProvider", "Mend the host, or set RATCHET_DEVICE=cpu"
    if wanted not in onnxruntime.get_available_providers():
        raise Refusal(f"this host is to serve on a {device} and onnxruntime has no {wanted}", path.name, mend)
    # The wheels that hold CUDA's libraries are not where a loader looks.
    onnxruntime.preload_dlls()
    limit = {"gpu_mem_limit": str(memory_mb << 20)} if memory_mb else {}
    made = onnxruntime.InferenceSession(path, options, providers=[(wanted, _EXACT | limit)])
    if made.get_providers()[0] != wanted:
        raise Refusal(f"this host is to serve on a {device} and onnxruntime finds none", path.name, mend)
    return made
