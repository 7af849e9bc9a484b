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
MAX_ID = 64
"""Characters of a request's id."""
MAX_BODY = 8 << 20
"""Bytes of the largest body that is read."""
OPERATIONS, CARD = "/ops", "/card"
"""For Ratchet alone: what it reads of a bento, and the model card. The gateway does not route them."""
RECENT, LOG = f"{OPERATIONS}/recent", f"{OPERATIONS}/log"
"""The recent answers, and the files of the prediction log."""
LARGE_BODY = 64 << 10
"""Bytes from which on a request waits for its turn among the large ones, and keeps none of the small ones waiting."""
GRPC = "/~grpc"
"""Between a model's path, or `/v2`, and a method of the gRPC service, for the gateway. No recipe has a tilde."""
GRPC_STATUS, GRPC_MESSAGE = "x-grpc-status", "x-grpc-message"
"""Headers of a response from which the gateway makes gRPC's trailers."""
FEEDBACK = "/feedback"
"""Labels that come back for requests that were answered."""
SUBJECT, OWN = "x-subject-id", "x-ratchet-own"
"""Headers of a request: whom it is about, and that Ratchet itself sent it."""
DOCS = "/docs.json"
"""The OpenAPI page."""
MODEL_INFER = f"{GRPC}/ModelInfer"
PREDICTIONS = (CLASSIFY, PREDICT, INFER, MODEL_INFER)
"""The ends of the paths whose latency is the latency of a prediction."""
DURATION = "ratchet_prediction_duration_seconds"
"""The histogram of that latency on the page of metrics, with the labels `endpoint` and `http_response_code`."""
BENTOML = frozenset({"/", DOCS, EXPLAIN, "/schema.json", METRICS, "/healthz", "/livez", "/readyz"})
"""The paths whose requests pass BentoML's middlewares."""
ROUTED = (CLASSIFY, PREDICT)
"""What callers reach below `/<recipe>`, beside `EXPLAIN`, `/v2` and the OpenAPI page."""


def model(recipe: str, version: str = "") -> str:
    """The path of a model, or of one version of it, by the Open Inference Protocol."""
    return f"{MODELS}/{recipe}" + (f"/versions/{version}" if version else "")
