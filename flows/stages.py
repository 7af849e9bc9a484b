"""One task a stage: each takes words and returns one, keeps what it found as an artifact, and may refuse."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows import dossiers
from flows.measure import on_a_host
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.lake import ingest as lake
from ratchet.lake import quarantine
from ratchet.lake import snapshot as snapshots
from ratchet.recipe import Recipe, Training
from ratchet.recipe import load as load_recipe
from ratchet.settings import settings
from ratchet.words import Candidate, Package, Snapshot, Verdict, to_json
from releases import act, record, requests
from releases.state import State

WHO = "retrain-and-release"


def stage(function: Any) -> Any:
    """A Prefect task that hands over words, not results: nothing is cached, pickled or tried again."""
    return task(function, cache_policy=NO_CACHE, persist_result=False, retries=0)


@contextmanager
def scratch() -> Iterator[Path]:
    # Not under the home: BentoML builds nothing below a hidden folder, and `.ratchet` is one.
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        yield Path(folder)


@stage
def ingest(name: str) -> None:
    """Lands the recipe's first batch where nothing was ever landed."""
    recipe = load_recipe(name)
    log = get_run_logger()
    if quarantine.ever_landed(lake.lake(name)):
        log.info("%d batches wait to be validated", len(quarantine.pending(lake.lake(name))))
        return
    batch = lake.land_feed(recipe, recipe.batches[0], WHO)
    log.info(
        "batch %s: %d records landed, %d in quarantine, from %s",
        batch.id,
        batch.accepted,
        batch.quarantined,
        batch.source,
    )


@stage
def validate(name: str) -> Snapshot:
    """Runs the suite on each landed batch: admitted, or quarantined whole. Returns the snapshot after it."""
    recipe, home, log = load_recipe(name), lake.lake(name), get_run_logger()
    failed = []
    for batch in quarantine.pending(home):
        result = dossiers.suite_result(recipe, batch)
        create_table_artifact(
            [{"expectation": e.name, "column": e.column, "expected": e.limit, "observed": e.observed,
              "passed": e.passed, "records": ", ".join(r[:12] for r in e.records)} for e in result.expected],
            key=f"suite-{name}", description=f"Batch {batch}: {'admitted' if result.passed else result.why}",
        )  # fmt: skip
        if result.passed:
            quarantine.admit_landed(home, batch, WHO)
            log.info("batch %s: %d expectations met on %d rows; admitted", batch, len(result.expected), result.rows)
        else:
            quarantine.refuse_landed(home, batch, result.why, WHO)
            failed.append(result)
    if failed:
        first = failed[0]
        records = [r[:12] for e in first.expected for r in e.records][:5]
        on = f", on records {', '.join(records)}" if records else ""
        raise Refusal(
            f"the suite failed: {first.why}{on}",
            f"batch {', '.join(f.batch for f in failed)} of {name}",
            f"It is in quarantine: `ratchet quarantine show {name} {first.batch}`; Data Docs: {first.docs}. "
            + requests.goes_on(requests.state_of(name)),
        )
    snapshot = snapshots.take(recipe)
    log.info("snapshot %s: %d records, Delta version %d", snapshot.fingerprint[:12], snapshot.records, snapshot.version)
    return snapshot


@stage
def train(
    name: str, snapshot: Snapshot, epochs: int | None = None, batch_size: int | None = None, family: str | None = None,
    trials: int | None = None, warm_start: bool = False,
) -> Candidate:  # fmt: skip
    """The candidate of this snapshot and these parameters; trained only where none stands in the registry.

    With `trials` the parameters are searched for; with `warm_start` it goes on from the champion's weights.
    """
    from models import candidate as candidates
    from models.search import search

    recipe, log = load_recipe(name), get_run_logger()
    asked = recipe.training
    training = replace(asked, epochs=epochs or asked.epochs, batch_size=batch_size or asked.batch_size)
    if family and family != asked.family:  # its own size, since the recipe's is another's
        training = replace(training, family=family, parameters={})
    if warm_start:
        training = replace(training, start=_start(recipe, training, snapshot, log.info))
    if trials:
        training = search(recipe, training, snapshot, trials, log.info)
    candidate, new = candidates.make(recipe, training, snapshot, log.info)
    did = f"trained in {candidate.seconds:.0f} s" if new else "was trained before"
    metric = recipe.answers.metric
    log.info("version %s %s: test %s %.4f", candidate.version, did, metric.replace("_", " "),
             candidate.metrics[f"test_{metric}"])  # fmt: skip
    return candidate


def _start(recipe: Recipe, training: Training, snapshot: Snapshot, tell: Callable[[str], None]) -> str:
    """The champion's weights, or none where it is of another family, or there is none yet.

    A champion of this very snapshot is not trained on: it would never end.
    """
    from models import candidate as candidates
    from models import registry

    champion = requests.state_of(recipe.name).champion
    found = registry.version(recipe.name, champion.version) if champion else None
    if found is None:
        tell("there is no champion to go on from: it starts cold")
        return ""
    known = candidates.read(found)
    if known.family != training.family:
        tell(f"the champion is a {known.family}: the {training.family} starts cold")
        return ""
    return (
        str(known.parameters.get("start", "")) if known.snapshot.fingerprint == snapshot.fingerprint else known.weights
    )


@stage
def shrink(name: str, candidate: Candidate) -> Candidate:
    """The same with its smaller and faster forms, and the one that is packaged; decided once for a version."""
    from models import variants
    from models.judge.variants import chosen

    log, recipe, found = get_run_logger(), load_recipe(name), variants.kept(candidate)
    if found is None:
        with scratch() as folder:
            made = variants.make(recipe, candidate, folder)
        log.info("the forms are measured on a host")
        where, took = on_a_host(candidate, made, recipe.memory_mb)
        found = chosen(made, took, where, recipe.answers.tolerance)
        if took:  # a host that was away today must not decide for ever
            variants.keep(candidate, found)
    for one in found:
        took_ = "not measured" if one.milliseconds is None else f"{one.milliseconds:.3f} ms"
        log.info("%s%s: %s, %.2f MB, on %s; %s", one.name, " (packaged)" if one.packaged else "", took_, one.megabytes,
                 one.where, one.check.detail)  # fmt: skip
    return replace(candidate, variants=found)


@stage
def judge(name: str, candidate: Candidate) -> tuple[Candidate, Verdict]:
    """The verdict, and what it is on: where a smaller form is refused, the full one is judged instead.

    A candidate that is not blessed ends the run.
    """
    from models import variants
    from models.decide import decide
    from models.judge.variants import without

    state, recipe = requests.state_of(name), load_recipe(name)
    served = [p.version for p in (*state.former, *([state.champion] if state.champion else []))]
    # The champion's own version in a mended package is judged as it was: against those before it.
    ever = [version for version in served if version != candidate.version]
    champion = ever[-1] if ever else None
    with scratch() as folder:
        verdict = decide(recipe, candidate, champion, ever, folder)
        if not verdict.blessed and candidate.packaged != candidate.onnx:
            get_run_logger().info("the smaller form is refused, and the full one judged: %s", verdict.why)
            candidate = replace(candidate, variants=without(candidate.variants, f"refused: {verdict.why}"))
            variants.keep(candidate, candidate.variants)
            verdict = decide(recipe, candidate, champion, ever, folder)
    create_table_artifact(
        [{"check": c.name, "outcome": c.outcome, "figure": c.figure, "threshold": c.threshold, "detail": c.detail}
         for c in verdict.checks],
        key=f"verdict-{name}", description=f"Version {verdict.version}: {verdict.why}",
    )  # fmt: skip
    for check in verdict.checks:
        get_run_logger().info("%s: %s (%s)", check.name, check.outcome, check.detail)
    dossiers.tell(candidate, verdict)
    if not verdict.blessed:
        raise Refusal(f"the verdict is against it: {verdict.why}", f"version {verdict.version} of {name}",
                      f"It stays registered and is never served. {requests.goes_on(state)}")  # fmt: skip
    return candidate, verdict


def arm(name: str, candidate: Candidate) -> str:
    """What would serve it: the same weights in a mended service are another."""
    from bentos import build

    return build.arm(candidate.version, build.package_key(load_recipe(name), candidate.packaged, candidate.vocabulary))


@stage
def package(name: str, candidate: Candidate, verdict: Verdict) -> Package:
    """The bento: built once for a package key, kept beside the version in MLflow."""
    from bentos import build, golden
    from models import candidate as candidates
    from models import registry
    from ratchet import stage as stages

    recipe = load_recipe(name)
    key = build.package_key(recipe, candidate.packaged, candidate.vocabulary)
    labels = {"package": key, "model": name, "version": candidate.version, "run": candidate.run_id,
              "snapshot": candidate.snapshot.fingerprint, "commit": candidate.commit}  # fmt: skip

    def work() -> Package:
        with scratch() as folder:
            made = candidates.exported(recipe, candidate, folder)
            inputs = golden.drawn(recipe, snapshots.load(recipe, candidate.snapshot))
            tag, bento = build.build(
                recipe,
                candidate.version,
                sorted(made.path.parent.iterdir()),
                inputs,
                made.answers(inputs),
                labels,
                dossiers.of(candidate, verdict),
                folder,
            )
            path = registry.beside(candidate, bento.name)
            registry.upload(path, bento)
            packed = Package(name, candidate.version, key, tag, sha256(bento), path, recipe.memory_mb)
        serves = requests.state_of(name).champion
        if serves is None or serves.version != candidate.version:  # of that one, the tag follows its promotion
            registry.set_tag(name, candidate.version, "ratchet.package", json.dumps(to_json(packed)))
        return packed

    named = {"package": key, "version": candidate.version, "memory": recipe.memory_mb}
    stage_key = stages.key("package", build.VERSION, **named, verdict=to_json(verdict))
    made, new = stages.run(stage_key, Package, work, source=build.build, still=lambda p: registry.has(p.artifact))
    get_run_logger().info("%s %s, SHA-256 %s", made.tag, "built" if new else "was built before", made.digest[:16])
    return made


@stage
def release(made: Package, strategy: str | None = None) -> None:
    """Asks for the release, has each host serve the package, and watches the controller promote it.

    A run that was killed in the middle goes on with the request that it had entered.
    """
    log, state = get_run_logger(), requests.state_of(made.recipe)

    def tell(line: str) -> None:
        log.info(line)
        show(made)

    if not (state.challenger == made and state.kind == "release"):
        plan = load_recipe(made.recipe).releasing
        plan = plan.by(strategy) if strategy else plan
        state = requests.release(made, plan, WHO, f"blessed candidate {made.version}")
    if state.phase == "warming":
        place(made, state)
    try:
        requests.watch(made, tell)
    finally:
        show(made)


def show(made: Package) -> None:
    """The release so far as an artifact: each event with its figures and the split after it."""
    told = record.release(requests.ledger().read(made.recipe), made.version)["events"]
    rows = [
        {"at": datetime.fromtimestamp(e["at"], UTC).isoformat(" ", "seconds"), "event": e["event"], "who": e["who"],
         "traffic": ", ".join(f"{arm} {weight} %" for arm, weight in e["split"]["weights"].items()),
         "figures": "; ".join(f"{c['name']} {c['outcome']}: {c['detail']}" for c in e.get("checks", ())),
         "why": e.get("why", "")}
        for e in told
    ]  # fmt: skip
    create_table_artifact(rows, key=f"release-{made.recipe}", description=f"The release of version {made.version}")


def place(made: Package, state: State) -> None:
    """Runs `serve` on each host's own queue, a few side by side, and reports the one that could not."""
    from flows import runs

    log, hosts, at_once = get_run_logger(), state.hosts, state.plan.max_surge
    for first in range(0, len(hosts), at_once):
        batch = {
            h: runs.start("serve/gpu", {"package": to_json(made)}, queue=h) for h in hosts[first : first + at_once]
        }
        for host, id in batch.items():
            run = runs.wait(id, settings().warm_seconds, still=lambda: _under_way(made))
            if run.state == "completed":
                log.info("host %s: %s", host, run.message)
            elif _under_way(made):
                requests.report_failure(made, state.attempt, f"{run.message} (on host {host})", f"host {host}")


def _under_way(made: Package) -> bool:
    state = requests.state_of(made.recipe)
    return made in (state.champion, state.challenger)


@stage
def observe(made: Package) -> None:
    """Asks the gateway for golden answers, as a caller would, and keeps what is served as an artifact."""
    from bentos import golden
    from ratchet.fleet.shelf import Shelf

    folder = Shelf(settings()).unpack(made, act.fetch)  # this worker's machine need not be a host's
    count = golden.replay(settings().gateway_url, folder / "src" / "model")
    get_run_logger().info("the gateway answers %d golden inputs as expected", count)
    create_markdown_artifact(
        f"**{made.recipe}** version {made.version} serves at {settings().gateway_url}/{made.recipe}/\n\n"
        f"- bento `{made.tag}`\n- SHA-256 `{made.digest}`\n- golden answers through the gateway: {count}",
        key=f"served-{made.recipe}",
    )
