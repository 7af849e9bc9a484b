"""Envoy's configuration as plain data: a cluster for each revision, the routes to them, the listener. Pure.

The names are Envoy's own; its v3 API documents each of them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ratchet import endpoints
from ratchet.types import HostPort, Split

_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FILTER = "type.googleapis.com/envoy.extensions.filters.http"

_ROUTED = "|".join(re.escape(path.removeprefix("/")) for path in endpoints.ROUTED)
PUBLIC = rf"({_ROUTED}|docs\.json|static_content/.*|v2(/.*)?)?"
"""The paths below `/<recipe>/` that callers need. Metrics, recent answers and the model card are not among them."""
_THRESHOLDS = {"max_connections": 8, "max_pending_requests": 2048, "max_requests": 4096, "max_retries": 256}
_BREAKERS = {"thresholds": [_THRESHOLDS]}
_ORIGINAL_PATH = "x-ratchet-original-path"
"""A header with the path as the caller wrote it; error messages name that path."""
_RETRY = "type.googleapis.com/envoy.extensions.retry"
_AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


def cluster_name(recipe: str, revision: str, fallback: str = "") -> str:
    """Envoy's name for a revision, or for a revision with its fallback."""
    return f"{recipe}_{revision}~{fallback}" if fallback else f"{recipe}_{revision}"


def parse_cluster_name(cluster: str) -> tuple[str, str, str]:
    """Recipe, revision and fallback of a cluster. Neither a recipe nor a version has an underscore or a tilde."""
    recipe, _, rest = cluster.partition("_")
    revision, _, fallback = rest.partition("~")
    return recipe, revision, fallback


def _fallback(revision: str, split: Split) -> str:
    others = [other for other, weight in split.weights.items() if weight and other != revision]
    return others[0] if others else split.fallback if split.fallback != revision else ""


def cluster(name: str, addresses: Iterable[HostPort], check: str) -> dict[str, Any]:
    """Endpoints that receive requests in turn while they answer the path `check` with 200."""
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name, "type": "STATIC", "connect_timeout": "0.5s", "lb_policy": "ROUND_ROBIN",
        # The default of 50 % sends traffic to endpoints that are known to be dead.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [{
            # Long enough that a bento on a busy machine does not miss two of them.
            "timeout": "1s", "interval": "1s", "no_traffic_interval": "1s", "initial_jitter": "0.1s",
            "unhealthy_threshold": 2, "healthy_threshold": 1, "unhealthy_interval": "0.5s",
            "http_health_check": {"path": check},
        }],
        # The queue is in front of the bento and not in it, so its health check does not wait behind a crowd.
        # A bento answers one request after another: with 160 connections it is no faster, and far less even.
        "circuit_breakers": _BREAKERS,
        "outlier_detection": {"consecutive_gateway_failure": 5, "consecutive_5xx": 0, "interval": "1s",
                              "base_ejection_time": "2s", "max_ejection_percent": 50},
        "load_assignment": {
            "cluster_name": name,
            # As long as one endpoint lives, the revision gets its share of the traffic.
            "policy": {"overprovisioning_factor": 100_000},
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(h, p)}} for h, p in addresses]}],
        },
    }  # fmt: skip


def route_table(splits: Mapping[str, Split]) -> dict[str, Any]:
    """The revision that a request goes to, by its path and the recipes' splits."""
    table: list[dict[str, Any]] = [
        _direct("/v2/health/live", {"live": True}),
        _direct("/v2", {"name": "ratchet", "version": "1", "extensions": ["binary_tensor_data"]}),
    ]
    for recipe, split in sorted(splits.items()):
        action = {
            "weighted_clusters": {
                "clusters": [{"name": cluster_name(recipe, revision, _fallback(revision, split)), "weight": weight}
                             for revision, weight in split.weights.items()]
            },
            "timeout": "30s",
            # An inference changes nothing, so it may be sent again if the process that had it died.
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset", "num_retries": 2,
                "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
                    "@type": f"{_RETRY}.host.previous_hosts.v3.PreviousHostsPredicate"}}],
                "host_selection_retry_max_attempts": 8,
                "retry_priority": {"name": "envoy.retry_priorities.previous_priorities", "typed_config": {
                    "@type": f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 2}},  # first another host of the revision
            },
            **({"request_mirror_policies": [_mirror(recipe, split)]} if split.mirror else {}),
        }  # fmt: skip
        escaped = re.escape(recipe)
        model = {"safe_regex": {"regex": f"{endpoints.MODELS}/{escaped}(/.*)?"}}
        headers = [_header("x-forwarded-prefix", f"/{recipe}"), _header(_ORIGINAL_PATH, "%REQ(:PATH)%")]
        table += [
            {"name": f"recipe:{recipe}", "match": model, "route": action},
            {"match": {"safe_regex": {"regex": f"/{escaped}"}}, "redirect": {"path_redirect": f"/{recipe}/"}},
            # Not by the revisions' own clusters: explanations must not take the connections that predictions need,
            # and do not count for a revision.
            {"match": {"path": f"/{recipe}{endpoints.EXPLAIN}"},
             "route": {"cluster": ready(recipe), "prefix_rewrite": endpoints.EXPLAIN, "timeout": "30s"},
             "request_headers_to_add": headers},
            {"match": {"safe_regex": {"regex": f"/{escaped}/{PUBLIC}"}},
             "route": {**action, "regex_rewrite": {"pattern": {"regex": f"^/{escaped}/"}, "substitution": "/"}},
             "request_headers_to_add": headers},
        ]  # fmt: skip
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "recipes", "virtual_hosts": [{
            "name": "recipes", "domains": ["*"], "routes": table,
        }],
    }  # fmt: skip


def listener(splits: Mapping[str, Split], at: HostPort, folder: Path) -> dict[str, Any]:
    """The port that callers send requests to, with its readiness; the route table is read from `folder`."""
    all_of = {ready(recipe): {"value": 1} for recipe in sorted(splits)}
    filters = [
        {"name": "ready", "typed_config": {
            "@type": f"{_FILTER}.health_check.v3.HealthCheck", "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": endpoints.READY}}],
            **({"cluster_min_healthy_percentages": all_of} if all_of else {}),
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
        "path_with_escaped_slashes_action": "REJECT_REQUEST", "http_protocol_options": {"accept_http_10": True},
        "stream_idle_timeout": "60s", "request_headers_timeout": "10s", "request_timeout": "60s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "local_reply_config": {"mappers": [
            _mapper("EQ", 404, "nothing is served at this path"),
            _mapper("EQ", 400, "the request or its path is malformed", "the request"),
            _mapper("EQ", 403, "protocol upgrades are not accepted", "the request"),
            _mapper("EQ", 431, "the request's headers are too large", "the request"),
            _mapper("EQ", 503, "no process can answer at the moment", next="Try again in a few seconds"),
            _mapper("GE", 400),
        ]},
        "rds": {
            "route_config_name": "recipes",
            "config_source": {"resource_api_version": "V3", "path_config_source": {
                "path": str(folder / "rds.json"), "watched_directory": {"path": str(folder)}}},
        },
    }  # fmt: skip
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "gateway", "address": address(*at),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }  # fmt: skip


def aggregate(recipe: str, revision: str, fallback: str) -> dict[str, Any]:
    """A revision and its fallback, which gets what the revision fails to answer."""
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster_name(recipe, revision, fallback), "connect_timeout": "0.5s", "lb_policy": "CLUSTER_PROVIDED",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}}, "circuit_breakers": _BREAKERS,
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": {
            "@type": _AGGREGATE, "clusters": [cluster_name(recipe, revision), cluster_name(recipe, fallback)]}},
    }  # fmt: skip


def ready(recipe: str) -> str:
    """The name of the cluster of all endpoints that serve now, of any revision; it does not change with a version."""
    return f"{recipe}_ready"


def _mirror(recipe: str, split: Split) -> dict[str, Any]:
    share = {"numerator": split.mirror_percent, "denominator": "HUNDRED"}
    return {"cluster": cluster_name(recipe, split.mirror), "runtime_fraction": {"default_value": share}}


def address(host: str, port: int) -> dict[str, Any]:
    """Envoy's form of an address."""
    return {"socket_address": {"address": host, "port_value": port}}


def _direct(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A route that the gateway answers itself."""
    response = {"status": 200, "body": {"inline_string": json.dumps(body)}}
    content_type = _header("content-type", "application/json")
    return {"match": {"path": path}, "direct_response": response, "response_headers_to_add": [content_type]}


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _mapper(
    comparison: str, status: int, what: str = "", which: str = f"%REQ({_ORIGINAL_PATH}?:PATH)%",
    next: str = "See `ratchet status`; a released recipe is served at /<recipe>/",
) -> dict[str, Any]:  # fmt: skip
    """Envoy's own errors, in the shape that all errors have."""
    shape = {"error": "%LOCAL_REPLY_BODY%", "which": which, "next": next}
    value = {"default_value": status, "runtime_key": f"ratchet.status_{status}"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {"json_format": shape, "content_type": "application/json"},
        **({"body": {"inline_string": what}} if what else {}),
    }
