"""The OpenAPI description of what callers of a bento reach: BentoML's own, and the Open Inference Protocol. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import Route

from ratchet.endpoints import FEEDBACK

_INTERNAL = ("/healthz", "/livez", "/readyz", "/metrics")
"""Paths that the gateway does not route."""
_TAG = "Open Inference Protocol"
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {}},
    },
}
_REQUEST = {"type": "object", "required": ["inputs"], "properties": {"inputs": {"type": "array", "items": _TENSOR}}}
_ERROR = {
    "type": "object",
    "required": ["error", "which", "next"],
    "properties": {name: {"type": "string"} for name in ("error", "which", "next")},
}


_LABEL = {
    "type": "object",
    "required": ["request_id", "label"],
    "properties": {"request_id": {"type": "string"}, "row": {"type": "integer"}, "label": {}},
}
_FEEDBACK = {"oneOf": [_LABEL, {"type": "object", "properties": {"feedback": {"type": "array", "items": _LABEL}}}]}


def describe(bentoml: Mapping[str, Any], routes: Sequence[Route], recipe: str, version: str) -> dict[str, Any]:
    """BentoML's description without what callers do not reach, and with the protocol's `routes` below `/v2`."""
    info = {key: value for key, value in bentoml["info"].items() if key != "contact"}  # BentoML's team
    paths = {path: item for path, item in bentoml["paths"].items() if path not in _INTERNAL}
    for route in routes:
        path = f"/v2{route.path.rstrip('/')}".replace("{model}", recipe).replace("{version}", version)
        paths[path] = {"post" if "POST" in (route.methods or ()) else "get": _operation(route)}
    paths[FEEDBACK] = {"post": _feedback()}
    tags = [tag for tag in bentoml.get("tags", ()) if tag["name"] in _tags(paths)]
    return {**bentoml, "info": info, "paths": paths, "tags": [*tags, {"name": _TAG}, {"name": "Feedback"}]}


def _tags(paths: Mapping[str, Any]) -> set[str]:
    return {tag for item in paths.values() for operation in item.values() for tag in operation.get("tags", ())}


_REFUSED = {"description": "A sentence", "content": {"application/json": {"schema": _ERROR}}}


def _operation(route: Route) -> dict[str, Any]:
    return {
        "tags": [_TAG],
        "summary": route.endpoint.__doc__,
        "responses": {"200": {"description": "Success"}, "4XX": _REFUSED, "5XX": _REFUSED},
        **(_body(_REQUEST) if route.endpoint.__name__ == "infer" else {}),
    }


def _feedback() -> dict[str, Any]:
    return {
        "tags": ["Feedback"],
        "summary": "Labels of requests that were answered, by the response's x-request-id",
        "responses": {"202": {"description": "They are on the disk"}, "4XX": _REFUSED, "503": _REFUSED},
        **_body(_FEEDBACK),
    }


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
