"""The names of a service's endpoints, in one place for the service, its guard, its metrics and the gateway's routes."""

CLASSIFY, PREDICT, EXPLAIN = "/classify", "/predict", "/explain"
"""BentoML's own API: one image file, a JSON batch, and the attribution of one prediction."""
INFER = "/infer"
"""The end of the Open Inference Protocol's path for an inference."""
RECENT, CARD = "/ops/recent", "/card"
"""For Ratchet alone: the recent answers and the model card. The gateway does not route them."""
PREDICTIONS = (CLASSIFY, PREDICT, INFER)
"""The ends of the paths whose latency is the latency of a prediction."""
PUBLIC = (CLASSIFY, PREDICT)
"""What callers reach below `/<recipe>`, beside `EXPLAIN`, `/v2` and the OpenAPI page."""
