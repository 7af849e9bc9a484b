"""What Envoy reads, as plain data: a cluster for each arm, the routes to them, the listener. Pure.

The names are Envoy's own; its v3 API says what each of them does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ratchet.words import Place, Split

_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FILTER = "type.googleapis.com/envoy.extensions.filters.http"

OPEN = r"(classify|predict|docs\.json|static_content/.*|v2(/.*)?)?"
"""What of a recipe's service callers need, below `/<recipe>/`. Metrics, records and dossier are not."""
_BREAKERS = {"thresholds": [{
    "max_connections": 8, "max_pending_requests": 2048, "max_requests": 4096, "max_retries": 256}]}  # fmt: skip
_ASKED = "x-ratchet-asked"
"""A header with the path as the caller wrote it: errors name that."""
_RETRY = "type.googleapis.com/envoy.extensions.retry"
_AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


def name(recipe: str, arm: str, spare: str = "") -> str:
    """Envoy's name of an arm; of an arm with another that is asked where it does not answer."""
    return f"{recipe}_{arm}~{spare}" if spare else f"{recipe}_{arm}"


def named(cluster: str) -> tuple[str, str, str]:
    """Recipe, arm and spare. Neither a recipe nor a version has an underscore or a tilde."""
    recipe, _, arms = cluster.partition("_")
    arm, _, spare = arms.partition("~")
    return recipe, arm, spare


def _spare(arm: str, split: Split) -> str:
    others = [other for other, weight in split.weights.items() if weight and other != arm]
    return others[0] if others else split.spare if split.spare != arm else ""


def cluster(called: str, endpoints: Iterable[Place], asked: str) -> dict[str, Any]:
    """Endpoints that are asked in turn, while the path `asked` is answered with 200."""
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": called, "type": "STATIC", "connect_timeout": "0.5s", "lb_policy": "ROUND_ROBIN",
        # The default of 50 % sends traffic to hosts that are known to be dead.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [{
            "timeout": "0.5s", "interval": "1s", "no_traffic_interval": "1s", "initial_jitter": "0.1s",
            "unhealthy_threshold": 2, "healthy_threshold": 1, "unhealthy_interval": "0.5s",
            "http_health_check": {"path": asked},
        }],
        # A queue in front of the bento, not in it: its health check must not wait behind a crowd.
        # A bento answers one request after another: at 160 connections it is no faster alone, and far less even.
        "circuit_breakers": _BREAKERS,
        "outlier_detection": {"consecutive_gateway_failure": 5, "consecutive_5xx": 0, "interval": "1s",
                              "base_ejection_time": "2s", "max_ejection_percent": 50},
        "load_assignment": {
            "cluster_name": called,
            # As long as one endpoint lives, the arm has its traffic.
            "policy": {"overprovisioning_factor": 100_000},
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(h, p)}} for h, p in endpoints]}],
        },
    }  # fmt: skip


def route_table(splits: Mapping[str, Split]) -> dict[str, Any]:
    """Which arm a request goes to, by its path and the recipes' splits."""
    listed: list[dict[str, Any]] = [
        _direct("/v2/health/live", {"live": True}),
        _direct("/v2", {"name": "ratchet", "version": "1", "extensions": ["binary_tensor_data"]}),
    ]
    for recipe, wanted in sorted(splits.items()):
        split = {
            "weighted_clusters": {
                "clusters": [{"name": name(recipe, arm, _spare(arm, wanted)), "weight": w}
                             for arm, w in wanted.weights.items()]
            },
            "timeout": "30s",
            # An inference changes nothing, so it may be asked again where a process died over it.
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset", "num_retries": 2,
                "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
                    "@type": f"{_RETRY}.host.previous_hosts.v3.PreviousHostsPredicate"}}],
                "host_selection_retry_max_attempts": 8,
                "retry_priority": {"name": "envoy.retry_priorities.previous_priorities", "typed_config": {
                    "@type": f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 2}},  # another host of the arm first
            },
            **({"request_mirror_policies": [_mirror(recipe, wanted)]} if wanted.mirror else {}),
        }  # fmt: skip
        escaped = re.escape(recipe)
        model = {"safe_regex": {"regex": f"/v2/models/{escaped}(/.*)?"}}
        prefixed = [_header("x-forwarded-prefix", f"/{recipe}"), _header(_ASKED, "%REQ(:PATH)%")]
        listed += [
            {"name": f"recipe:{recipe}", "match": model, "route": split},
            {"match": {"safe_regex": {"regex": f"/{escaped}"}},
             "redirect": {"path_redirect": f"/{recipe}/"}},
            # Not by the arms' own clusters: explanations must neither fill the connections that answers need nor
            # count as what an arm did.
            {"match": {"path": f"/{recipe}/explain"},
             "route": {"cluster": ready(recipe), "prefix_rewrite": "/explain", "timeout": "30s"},
             "request_headers_to_add": prefixed},
            {"match": {"safe_regex": {"regex": f"/{escaped}/{OPEN}"}},
             "route": {**split, "regex_rewrite": {"pattern": {"regex": f"^/{escaped}/"}, "substitution": "/"}},
             "request_headers_to_add": prefixed},
        ]  # fmt: skip
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "recipes", "virtual_hosts": [{
            "name": "recipes", "domains": ["*"], "routes": listed,
        }],
    }  # fmt: skip


def listener(splits: Mapping[str, Split], at: Place, folder: Path) -> dict[str, Any]:
    """The port where callers ask, and whether it is ready; the table of routes is read from `folder`."""
    all_of = {ready(recipe): {"value": 1} for recipe in sorted(splits)}
    filters = [
        {"name": "ready", "typed_config": {
            "@type": f"{_FILTER}.health_check.v3.HealthCheck", "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/v2/health/ready"}}],
            **({"cluster_min_healthy_percentages": all_of} if all_of else {}),
        }},
        {"name": "router", "typed_config": {
            "@type": f"{_FILTER}.router.v3.Router", "suppress_envoy_headers": True,
        }},
    ]  # fmt: skip
    manager = {
        "@type": _MANAGER, "stat_prefix": "gateway", "http_filters": filters,
        # For who has labels that come back; `ratchet label` takes it.
        "always_set_request_id_in_response": True,
        "server_name": "ratchet", "normalize_path": True, "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST", "http_protocol_options": {"accept_http_10": True},
        "stream_idle_timeout": "60s", "request_headers_timeout": "10s", "request_timeout": "60s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "local_reply_config": {"mappers": [
            _mapper("EQ", 404, "nothing is served there"),
            _mapper("EQ", 400, "the request or its path is malformed", "the request"),
            _mapper("EQ", 403, "upgrades are not taken", "the request"),
            _mapper("EQ", 431, "the request's headers are too large", "the request"),
            _mapper("EQ", 503, "none of its processes can answer now", next="Ask again in a few seconds"),
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


def aggregate(recipe: str, arm: str, spare: str) -> dict[str, Any]:
    """An arm, and where none of it answers, another: what fails there is asked here again."""
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name(recipe, arm, spare),
        "connect_timeout": "0.5s", "lb_policy": "CLUSTER_PROVIDED",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}}, "circuit_breakers": _BREAKERS,
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": {
            "@type": _AGGREGATE, "clusters": [name(recipe, arm), name(recipe, spare)]}},
    }  # fmt: skip


def ready(recipe: str) -> str:
    """The cluster of all that may be asked now, whichever arm; its name does not change with a version."""
    return f"{recipe}_ready"


def _mirror(recipe: str, split: Split) -> dict[str, Any]:
    share = {"numerator": split.percent, "denominator": "HUNDRED"}
    return {"cluster": name(recipe, split.mirror), "runtime_fraction": {"default_value": share}}


def address(host: str, port: int) -> dict[str, Any]:
    """Where somebody listens."""
    return {"socket_address": {"address": host, "port_value": port}}


def _direct(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A route that the gateway answers itself."""
    answer = {"status": 200, "body": {"inline_string": json.dumps(body)}}
    kind = _header("content-type", "application/json")
    return {"match": {"path": path}, "direct_response": answer, "response_headers_to_add": [kind]}


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _mapper(
    comparison: str, status: int, what: str = "", which: str = f"%REQ({_ASKED}?:PATH)%",
    next: str = "See `ratchet status`; released recipes stand under /<recipe>/",
) -> dict[str, Any]:  # fmt: skip
    """Envoy's own errors in the one shape of error."""
    shape = {"error": "%LOCAL_REPLY_BODY%", "which": which, "next": next}
    value = {"default_value": status, "runtime_key": f"ratchet.status_{status}"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {"json_format": shape, "content_type": "application/json"},
        **({"body": {"inline_string": what}} if what else {}),
    }
