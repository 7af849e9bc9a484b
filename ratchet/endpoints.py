"""The paths of a service's endpoints, in one place for the service, its guard, its readers and the gateway's routes."""

CLASSIFY, PREDICT, EXPLAIN = "/classify", "/predict", "/explain"
"""BentoML's own API: one image file, a JSON batch, and the attribution of one prediction."""
READY, METRICS = "/v2/health/ready", "/metrics"
MODELS, INFER, CONFIG, STATS = "/v2/models", "/infer", "/config", "/stats"
"""The Open Inference Protocol: the path above all models, and the ends of a model's paths."""
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository(index)", "statistics")
"""Triton's extensions of the protocol that are answered."""
MAX_BATCH = 1024
"""Inputs of one request."""
MAX_BODY = 8 << 20
"""Bytes of the largest body that is read."""
RECENT, CARD = "/ops/recent", "/card"
"""For Ratchet alone: the recent answers and the model card. The gateway does not route them."""
DOCS = "/docs.json"
"""The OpenAPI page."""
PREDICTIONS = (CLASSIFY, PREDICT, INFER)
"""The ends of the paths whose latency is the latency of a prediction."""
ROUTED = (CLASSIFY, PREDICT)
"""What callers reach below `/<recipe>`, beside `EXPLAIN`, `/v2` and the OpenAPI page."""


def model(recipe: str, version: str = "") -> str:
    """The path of a model, or of one version of it, by the Open Inference Protocol."""
    return f"{MODELS}/{recipe}" + (f"/versions/{version}" if version else "")
