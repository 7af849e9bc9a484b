"""Envoy's listener as plain data: the filters that every request passes, and the answers that Envoy gives itself. Pure.

Bodies are buffered here, with a time limit, so that a slow caller holds none of the few connections to a bento.
"""

from pathlib import Path
from typing import Any

from ratchet import endpoints
from ratchet.fleet.routes import ANY_READY, ORIGINAL_PATH, address
from ratchet.types import HostPort

_METHODS = "ServerLive ServerReady ServerMetadata ModelReady ModelMetadata ModelInfer"
_GRPC_PATHS = f"""
function refuse(handle, why)  -- UNIMPLEMENTED
  handle:respond({{[":status"] = "200", ["content-type"] = "application/grpc+proto", ["grpc-status"] = "12",
                  ["grpc-message"] = why, ["grpc-accept-encoding"] = "identity"}}, "")
end

-- A request of gRPC names its model in the message alone: as its first field, after five bytes of a frame.
function envoy_on_request(handle)
  local method = string.match(handle:headers():get(":path"), "^/inference%.GRPCInferenceService/(%w+)$")
  if method == nil then
    local length = tonumber(handle:headers():get("content-length") or "0")
    if length >= {endpoints.LARGE_BODY} then handle:clearRouteCache() end  -- of a body in chunks, it is known by now
    return
  end
  if not string.find(" {_METHODS} ", " " .. method .. " ", 1, true) then
    refuse(handle, "the method is not supported: " .. method .. ". See docs/serving.md.")
    return
  end
  local path = "/v2"
  if string.sub(method, 1, 5) == "Model" then
    local body = handle:body()
    local size = body and body:length() or 0
    local start = size > 7 and body:getBytes(0, math.min(size, 140)) or ""
    if string.byte(start, 1) == 1 then
      refuse(handle, "the message is compressed: " .. method .. ". Send it uncompressed.")
      return
    end
    local length = string.byte(start, 7) or 0
    local name = string.sub(start, 8, 7 + length)
    local is_name = string.byte(start, 6) == 10 and length < 128 and string.match(name, "^[%w-]+$")
    path = "{endpoints.MODELS}/" .. (is_name and name or "~")
  end
  handle:headers():replace(":path", path .. "{endpoints.GRPC}/" .. method)
  handle:clearRouteCache()
end

function envoy_on_response(handle)
  local status = handle:headers():get("{endpoints.GRPC_STATUS}")
  if status == nil then return end
  local message = handle:headers():get("{endpoints.GRPC_MESSAGE}") or ""
  local trailers = handle:trailers()
  if trailers then
    trailers:replace("grpc-status", status)
    trailers:replace("grpc-message", message)
  end
end
"""
"""Envoy's bridge makes HTTP/1.1 of a request of gRPC, and of the status of HTTP one of gRPC, without words."""
_GRPC_OWN = f"""
-- What Envoy answers itself is gRPC's already, and passes the bridge only in the form of a bento's answer.
function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get("content-type") == "application/grpc" then
    headers:replace("content-type", "application/x-protobuf")
    headers:replace("{endpoints.GRPC_STATUS}", headers:get("grpc-status") or "2")
    headers:replace("{endpoints.GRPC_MESSAGE}", headers:get("grpc-message") or "")
  end
end
"""
_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FILTER = "type.googleapis.com/envoy.extensions.filters.http"
CORS_HEADERS = "content-type,x-request-id,x-subject-id,inference-header-content-length"
"""The headers that a page of an allowed origin may send, and read beside the model's version."""


def listener(at: HostPort, routes: dict[str, Any], anything_served: bool) -> dict[str, Any]:
    """The port that callers send requests to. `routes` holds the routes, or the file they are read from."""
    # The gateway's readiness is not each model's: one that is down must not take out the others. Envoy reads a whole
    # percentage, and 1 % is any of up to a hundred endpoints.
    ready = {"cluster_min_healthy_percentages": {ANY_READY: {"value": 1}}} if anything_served else {}
    filters = [
        {"name": "cors", "typed_config": {"@type": f"{_FILTER}.cors.v3.Cors"}},
        {"name": "ready", "typed_config": {
            "@type": f"{_FILTER}.health_check.v3.HealthCheck", "pass_through_mode": False,
            "headers": [_IS_READY,
                        {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}],
            **ready,
        }},
        {"name": "buffer", "typed_config": {
            "@type": f"{_FILTER}.buffer.v3.Buffer", "max_request_bytes": endpoints.MAX_BODY,
        }},
        {"name": "lua", "typed_config": {
            "@type": f"{_FILTER}.lua.v3.Lua", "default_source_code": {"inline_string": _GRPC_PATHS},
        }},
        {"name": "grpc", "typed_config": {
            "@type": f"{_FILTER}.grpc_http1_reverse_bridge.v3.FilterConfig",
            "content_type": "application/x-protobuf", "withhold_grpc_frames": True,
        }},
        {"name": "lua.own", "typed_config": {
            "@type": f"{_FILTER}.lua.v3.Lua", "default_source_code": {"inline_string": _GRPC_OWN},
        }},
        {"name": "router", "typed_config": {
            "@type": f"{_FILTER}.router.v3.Router", "suppress_envoy_headers": True,
        }},
    ]  # fmt: skip
    manager = {
        "@type": _MANAGER, "stat_prefix": "gateway", "http_filters": filters,
        # A label that comes back names it; see `ratchet label`.
        "always_set_request_id_in_response": True,
        "server_name": "ratchet", "normalize_path": True, "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # A balancer's plain probe names no host.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "ratchet"},
        "stream_idle_timeout": "60s", "request_headers_timeout": "10s", "request_timeout": "60s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "local_reply_config": {"mappers": [_READY, *_ERRORS]},
        **routes,
    }  # fmt: skip
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "gateway", "address": address(*at),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }  # fmt: skip


def routes_from(folder: Path) -> dict[str, Any]:
    """The routes are read from a file in `folder`, again whenever it is replaced."""
    source = {"path": str(folder / "rds.json"), "watched_directory": {"path": str(folder)}}
    config = {"resource_api_version": "V3", "path_config_source": source}
    return {"rds": {"route_config_name": "recipes", "config_source": config}}


def cors(origins: tuple[str, ...]) -> dict[str, Any]:
    """The field of a virtual host that lets pages of these origins send requests."""
    policy = {
        "@type": f"{_FILTER}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": "GET, POST",
        "allow_headers": CORS_HEADERS,
        "expose_headers": f"{CORS_HEADERS},x-model-version",
        "max_age": "600",
    }
    return {"typed_per_filter_config": {"cors": policy}} if origins else {}


def _error(
    comparison: str, status: int, what: str = "", which: str = f"%REQ({ORIGINAL_PATH}?:PATH)%",
    next: str = "See `ratchet status`; a released recipe is served at /<recipe>/", flag: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Envoy's own errors, in the shape that all errors have: of a status, or with Envoy's flag for a reason."""
    shape = {"error": "%LOCAL_REPLY_BODY%", "which": which, "next": next}
    again = {"headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}]} if status == 503 else {}
    return {
        "filter": {"response_flag_filter": {"flags": [flag]}} if flag else _status(comparison, status),
        **again,
        "body_format_override": {"json_format": shape, "content_type": "application/json"},
        **({"body": {"inline_string": what}} if what else {}),
    }


def _status(comparison: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"ratchet.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


_IS_READY = {"name": ":path", "string_match": {"safe_regex": {"regex": rf"{endpoints.READY}(\?.*)?"}}}
_READY = {
    "filter": {"and_filter": {"filters": [{"header_filter": {"header": _IS_READY}}, _status("EQ", 200)]}},
    "body": {"inline_string": '{"ready": true}'},
    "body_format_override": {
        "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json",
    },
}  # fmt: skip
"""The filter for readiness answers with a status alone, and the protocol's clients read a body."""
_ERRORS = [
    _error("EQ", 404, "nothing is served at this path", next="See what is served at /"),
    _error("EQ", 405, next="Use a method that the header Allow names"),
    _error("EQ", 400, "the request or its path is malformed", "the request"),
    _error("EQ", 403, "protocol upgrades are not accepted", "the request"),
    _error("EQ", 408, "the request did not arrive completely in time", next="Send it again, at once"),
    _error("EQ", 413, f"the body is larger than {endpoints.MAX_BODY >> 20} MB", next="Send less at once"),
    _error("EQ", 431, "the request's headers are too large", "the request"),
    _error("EQ", 501, next="See docs/serving.md"),
    _error("EQ", 503, "more requests wait than can be answered soon", next="Try again in a second, and send fewer",
           flag="UO"),
    _error("EQ", 503, "no process can answer at the moment", next="Try again in a few seconds"),
    _error("EQ", 504, "the answer took too long", next="Send less at once, or try again later"),
    _error("GE", 400),
]  # fmt: skip
