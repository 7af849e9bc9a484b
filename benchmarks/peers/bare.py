"""A bare ASGI application around a model, which checks nothing: the most that a Python server can reach.

`MODEL` names the ONNX file. A body is the features [N, ...] as float32, or a JSON array of them; the
answer is the outputs in the same form.
"""

import os

import numpy as np
import onnxruntime
import orjson

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_session = onnxruntime.InferenceSession(os.environ["MODEL"], _options, providers=["CPUExecutionProvider"])
_input = _session.get_inputs()[0]
_TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
_type = _TYPES[_input.type]
_shape = [-1, *_input.shape[1:]]


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    is_json = dict(scope["headers"]).get(b"content-type") == b"application/json"
    features = np.array(orjson.loads(body), _type) if is_json else np.frombuffer(body, _type)
    outputs = _session.run(None, {_input.name: features.reshape(_shape)})[0]
    content = orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY) if is_json else outputs.tobytes()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
