"""Envoy's configuration as plain data: a cluster for each revision, and the routes to them. Pure.

The names are Envoy's own; its v3 API documents each of them.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from ratchet import endpoints
from ratchet.types import HostPort, Split, version_of

_ROUTED = "|".join(re.escape(path.removeprefix("/")) for path in endpoints.ROUTED)
PUBLIC = rf"({_ROUTED}|docs\.json|static_content/.*|v2(/.*)?)?"
"""The paths below `/<recipe>/` that callers need. Metrics, recent answers and the model card are not among them."""
_COMMON = {"max_requests": 4096, "max_retries": 256}
_BREAKERS = {"thresholds": [
    {"priority": "DEFAULT", "max_connections": 8, "max_pending_requests": 256, **_COMMON},
    {"priority": "HIGH", "max_connections": 2, "max_pending_requests": 16, **_COMMON},
]}  # fmt: skip
"""Of small requests, and of large ones, which must not take the connections of the small ones. A request beyond those
that wait is refused: by then the last of them waits for some hundred milliseconds."""
_LARGE = {"name": "content-length", "range_match": {"start": endpoints.LARGE_BODY, "end": 1 << 40}}
ORIGINAL_PATH = "x-ratchet-original-path"
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


_APART = {"priority": "HIGH"}
"""Envoy's name for the other of its two classes, each with connections of its own."""
_HEDGE = {"hedge_policy": {"hedge_on_per_try_timeout": True}}


def route_table(splits: Mapping[str, Split], hedged: Container[str], cors: Mapping[str, Any]) -> dict[str, Any]:
    """The revision that a request goes to, by its path and the recipes' splits, and what the gateway answers itself.

    The `hedged` recipes have more than one endpoint: a request that one of them holds too long is sent to another as
    well, since its process may hang, and the first answer is taken.
    """
    table: list[dict[str, Any]] = [*_own_answers(splits), *_server_rpcs(splits)]
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
                # By then the health checks have found a process that hangs.
                **({"per_try_timeout": "5s"} if recipe in hedged else {}),
                "retry_priority": {"name": "envoy.retry_priorities.previous_priorities", "typed_config": {
                    "@type": f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 2}},  # first another host of the revision
            },
            **(_HEDGE if recipe in hedged else {}),
            **({"request_mirror_policies": [_mirror(recipe, split)]} if split.mirror else {}),
        }  # fmt: skip
        escaped = re.escape(recipe)
        model = {"safe_regex": {"regex": f"{endpoints.MODELS}/{escaped}(/.*)?"}}
        headers = [_header("x-forwarded-prefix", f"/{recipe}"), _header(ORIGINAL_PATH, "%REQ(:PATH)%")]
        own = {"safe_regex": {"regex": f"/{escaped}/{PUBLIC}"}}
        rewrite = {"pattern": {"regex": f"^/{escaped}/"}, "substitution": "/"}
        table += [
            {"name": f"recipe:{recipe}", "match": {**model, "headers": [_LARGE]}, "route": {**action, **_APART}},
            {"name": f"recipe:{recipe}", "match": model, "route": action},
            {"match": {"safe_regex": {"regex": f"/{escaped}"}}, "redirect": {"path_redirect": f"/{recipe}/"}},
            # Not by the revisions' own clusters: explanations must not take the connections that predictions need,
            # and neither they nor feedback count for a revision.
            *({"match": {"path": f"/{recipe}{path}"},
               "route": {"cluster": ready(recipe), "prefix_rewrite": path, "timeout": "30s"},
               "request_headers_to_add": headers} for path in (endpoints.EXPLAIN, endpoints.FEEDBACK)),
            {"match": {**own, "headers": [_LARGE]}, "route": {**action, **_APART, "regex_rewrite": rewrite},
             "request_headers_to_add": headers},
            {"match": own, "route": {**action, "regex_rewrite": rewrite}, "request_headers_to_add": headers},
        ]  # fmt: skip
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "recipes", "virtual_hosts": [{
            "name": "recipes", "domains": ["*"], "routes": table, **cors,
        }],
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


_MAX_HEAP, _MAX_CONNECTIONS = 2 << 30, 20_000


def overload_manager() -> dict[str, Any]:
    """Bounds what callers can make Envoy keep: each may send a body of several megabytes slowly."""
    monitor = "type.googleapis.com/envoy.extensions.resource_monitors"
    connections = f"{monitor}.downstream_connections.v3.DownstreamConnectionsConfig"
    heap = {"@type": f"{monitor}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": _MAX_HEAP}
    limit = {"@type": connections, "max_active_downstream_connections": _MAX_CONNECTIONS}
    name = "envoy.resource_monitors.fixed_heap"
    triggers = [{"name": name, "threshold": {"value": 0.9}}]
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": name, "typed_config": heap},
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit},
        ],
        "actions": [{"name": "envoy.overload_actions.stop_accepting_requests", "triggers": triggers}],
    }


def runtime() -> dict[str, Any]:
    """Envoy's runtime settings."""
    # The default for the size of a compiled pattern is 100, which the paths of a recipe with a long name exceed.
    patterns = {f"re2.max_program_size.{level}_level": 1000 for level in ("warn", "error")}
    # With the layer `admin`, Envoy keeps answering while it loads a long list of clusters.
    return {"layers": [{"name": "patterns", "static_layer": patterns}, {"name": "admin", "admin_layer": {}}]}


ANY_READY = "~ready"
"""The cluster of everything that serves. No recipe has a name with a tilde."""


def ready(recipe: str) -> str:
    """The name of the cluster of all endpoints that serve now, of any revision; it does not change with a version."""
    return f"{recipe}_ready"


def _mirror(recipe: str, split: Split) -> dict[str, Any]:
    share = {"numerator": split.mirror_percent, "denominator": "HUNDRED"}
    return {"cluster": cluster_name(recipe, split.mirror), "runtime_fraction": {"default_value": share}}


def address(host: str, port: int) -> dict[str, Any]:
    """Envoy's form of an address."""
    return {"socket_address": {"address": host, "port_value": port}}


def _own_answers(splits: Mapping[str, Split]) -> list[dict[str, Any]]:
    """What the gateway answers without a bento: that it lives, what it speaks, and what is served."""
    served = {recipe: tuple(map(version_of, split.weights)) for recipe, split in sorted(splits.items())}
    listing = [{"name": recipe, "page": f"/{recipe}/", "protocol": endpoints.model(recipe)} for recipe in served]
    index = [{"name": recipe, "version": version, "state": "READY", "reason": ""}
             for recipe, versions in served.items() for version in versions]  # fmt: skip
    server = {"name": "ratchet", "version": "1", "extensions": endpoints.EXTENSIONS}
    one = "statistics are kept for each model: see /v2/models/<model>/stats"
    return [
        *_direct("/", {"name": "ratchet", "models": listing}),
        *_direct("/v2", server),
        *_direct("/v2/", server),
        *_direct("/v2/health/live", {"live": True}),
        *_direct(endpoints.MODELS, {"models": list(served)}),
        *_direct(f"{endpoints.MODELS}/", {"models": list(served)}),
        *_direct("/v2/repository/index", index, "POST"),
        _refused({"path": f"{endpoints.MODELS}{endpoints.STATS}"}, 501, one),
        _refused(
            {"safe_regex": {"regex": _NOT_SUPPORTED}},
            501,
            "shared memory, traces, log settings and the loading of models are not supported",
        ),
        *_other_methods(endpoints.READY, ("GET", "HEAD")),  # which the filter for readiness has answered
    ]


def _server_rpcs(splits: Mapping[str, Split]) -> list[dict[str, Any]]:
    """The methods of the gRPC service that name no model, which any bento answers."""
    match = {"prefix": f"/v2{endpoints.GRPC}/"}
    return [{"match": match, "route": {"cluster": ANY_READY, "timeout": "5s"}}] if splits else []


def _direct(path: str, body: Any, method: str = "GET") -> list[dict[str, Any]]:
    """Routes that the gateway answers itself: the method with `body`, every other method with 405."""
    methods = ("GET", "HEAD") if method == "GET" else (method,)
    response = {"status": 200, "body": {"inline_string": json.dumps(body)}}
    content_type = _header("content-type", "application/json")
    return [
        {"match": {"path": path, "headers": [_method("|".join(methods))]}, "direct_response": response,
         "response_headers_to_add": [content_type]},
        *_other_methods(path, methods),
    ]  # fmt: skip


def _other_methods(path: str, methods: tuple[str, ...]) -> list[dict[str, Any]]:
    """OPTIONS, which HAProxy's plain `httpchk` sends, is answered with the right methods, and any other is 405."""
    allow = ", ".join((*methods, "OPTIONS"))
    return [
        {"match": {"path": path, "headers": [_method("OPTIONS")]}, "direct_response": {"status": 204},
         "response_headers_to_add": [_header("allow", allow)]},
        _refused({"path": path}, 405, "the method is not supported here", allow),
    ]  # fmt: skip


def _method(regex: str) -> dict[str, Any]:
    return {"name": ":method", "string_match": {"safe_regex": {"regex": regex}}}


_NOT_SUPPORTED = (
    r"/v2/((system|cuda)sharedmemory/.*|trace/setting|logging|repository/models/.*)|/v2/models/[^/]+/trace/setting"
)
"""Extensions of Triton's that its clients may call."""


def _refused(match: Mapping[str, Any], status: int, why: str, allow: str = "") -> dict[str, Any]:
    headers = {"response_headers_to_add": [_header("allow", allow)]} if allow else {}
    return {"match": match, "direct_response": {"status": status, "body": {"inline_string": why}}, **headers}


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
