"""The stages, one task each: a stage takes types and returns one, saves its result as an artifact, and may refuse."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import model_cards, release_price, runs
from flows.latency_benchmark import on_a_host
from flows.log import log
from flows.notify import notify_once
from ratchet.errors import Refusal
from ratchet.evaluation.variants import Timing
from ratchet.files import sha256
from ratchet.lake import ingest as lake
from ratchet.lake import learning, quarantine
from ratchet.lake import snapshot as snapshots
from ratchet.recipe import Recipe, Training
from ratchet.recipe import load as load_recipe
from ratchet.scratch import scratch_folder
from ratchet.settings import settings
from ratchet.types import (
    Candidate,
    EvaluationReport,
    Package,
    Snapshot,
    Split,
    SuiteResult,
    Variant,
    from_json,
    to_json,
)
from releases import api, history, log_collector

WHO = "retrain-and-release"


def stage(function: Any) -> Any:
    """A Prefect task whose result is neither cached nor persisted, and which is not retried."""
    return task(function, cache_policy=NO_CACHE, persist_result=False, retries=0)


@stage
def ingest(name: str) -> None:
    """Lands the recipe's first batch, unless it has landed, or others were admitted instead; and what was labelled."""
    recipe = load_recipe(name)
    with log_collector.holding(name, api.open_ledger()):  # nobody forgets what is about to land
        labelled = learning.land(recipe, WHO)
    if labelled:
        log.info("batch %s: %d labelled inputs landed, from %s", labelled.id, labelled.accepted, labelled.source)
        for remark in labelled.remarks:
            log.info("%s", remark)
    if not lake.is_first_due(recipe):
        log.info("batches waiting for validation: %d", len(quarantine.pending(lake.lake(name))))
        if not lake.landed(recipe, lake.feed_id(recipe, recipe.batches[0])):
            log.info("the recipe's first batch has not landed; `ratchet ingest %s --next` lands it", name)
        return
    batch = lake.land_feed(recipe, recipe.batches[0], WHO, log.info)
    counts = batch.id, batch.accepted, batch.quarantined, batch.source
    log.info("batch %s: %d records landed, %d in quarantine, from %s", *counts)
    for remark in batch.remarks:
        log.info("%s", remark)


@stage
def validate(name: str) -> Snapshot:
    """Runs the suite on each landed batch and admits or quarantines it as a whole. Returns the new snapshot."""
    recipe, home = load_recipe(name), lake.lake(name)
    failed = []
    for batch in quarantine.pending(home):
        result = model_cards.run_suite(recipe, batch)
        _publish_suite(name, result)
        if result.passed:
            with log_collector.holding(name, api.open_ledger()):
                quarantine.admit_landed(home, batch, WHO)
            count = len(result.expectations)
            log.info("batch %s: %d expectations hold on %d rows; admitted", batch, count, result.rows)
        else:
            with log_collector.holding(name, api.open_ledger()):
                quarantine.refuse_landed(home, batch, result.why, WHO)
            failed.append(result)
    if failed:
        raise _failed_suite(name, failed)
    snapshot = snapshots.take(recipe)
    log.info("snapshot %s: %d records, Delta version %d", snapshot.fingerprint[:12], snapshot.records, snapshot.version)
    return snapshot


def _publish_suite(name: str, result: SuiteResult) -> None:
    rows = [to_json(expectation) for expectation in result.expectations]
    outcome = "admitted" if result.passed else result.why
    create_table_artifact(rows, key=f"suite-{name}", description=f"Batch {result.batch}: {outcome}")


def _failed_suite(name: str, failed: list[SuiteResult]) -> Refusal:
    first = failed[0]
    records = [record[:12] for expectation in first.expectations for record in expectation.records][:5]
    where = f", for records {', '.join(records)}" if records else ""
    batches = ", ".join(result.batch for result in failed)
    next = (
        f"It is in quarantine: `ratchet quarantine show {name} {first.batch}`; Data Docs: {first.docs}. "
        + api.what_serves(api.state_of(name))
    )
    return Refusal(f"the suite failed: {first.why}{where}", f"batch {batches} of {name}", next)


@stage
def train(
    name: str,
    snapshot: Snapshot,
    epochs: int | None = None,
    batch_size: int | None = None,
    family: str | None = None,
    trials: int | None = None,
    warm_start: bool = False,
) -> Candidate:
    """The candidate of this snapshot and these parameters, which is trained only if the registry has none.

    With `trials` the parameters are searched first; with `warm_start` it starts from the champion's weights.
    """
    from models import candidate as candidates
    from models.search import search

    recipe = load_recipe(name)
    own = recipe.training
    training = replace(own, epochs=epochs or own.epochs, batch_size=batch_size or own.batch_size)
    if family and family != own.family:  # with its default size, since the recipe's is for another family
        training = replace(training, family=family, parameters={})
    if warm_start:
        training = replace(training, initial_weights=_initial_weights(recipe, training, snapshot, log.info))
    if trials:
        training = search(recipe, training, snapshot, trials, log.info)
    candidate, new = candidates.make(
        recipe, training, snapshot, log.info, api.newest_version(name), runs.url(str(flow_run.id))
    )
    api.note_version(name, candidate.version)
    how = f"trained in {candidate.seconds:.0f} s" if new else "was trained before"
    metric = recipe.answers.metric
    value = candidate.metrics[f"test_{metric}"]
    log.info("version %s %s: test %s %.4f", candidate.version, how, metric.replace("_", " "), value)
    return candidate


def _initial_weights(recipe: Recipe, training: Training, snapshot: Snapshot, report: Callable[[str], None]) -> str:
    """The champion's weights; empty if it is of another family, or there is none.

    A champion of this very snapshot is not trained again, which would never end.
    """
    from models import candidate as candidates
    from models import zoo

    if zoo.trainer(recipe, training):
        report(f"{recipe.train or training.family} is trained by a function, so it starts cold")
        return ""
    champion = api.state_of(recipe.name).champion
    version = candidates.kept(recipe.name, champion.version if champion else None)
    if version is None:
        report("there is no champion in MLflow to start from, so training starts cold")
        return ""
    known = candidates.read(version)
    if known.family != training.family:
        report(f"the champion is of the family {known.family}, so the {training.family} starts cold")
        return ""
    if known.snapshot.fingerprint == snapshot.fingerprint:
        return str(known.parameters.get("initial_weights", ""))
    return known.weights


@stage
def optimize(name: str, candidate: Candidate) -> Candidate:
    """The candidate with its variants, one of them packaged, which is chosen once for a version."""
    from models import variants

    recipe, chosen = load_recipe(name), variants.chosen(candidate)
    if chosen is None:
        with scratch_folder(outside_home=True) as folder:
            unmeasured = variants.make(recipe, candidate, folder)
        chosen = _choose(recipe, candidate, unmeasured)
    for variant in chosen:
        latency = "not measured" if variant.latency_ms is None else f"{variant.latency_ms:.3f} ms"
        label = f"{variant.name} (packaged)" if variant.packaged else variant.name
        figures = latency, variant.size_mb, variant.measured_on, variant.check.detail
        log.info("%s: %s, %.2f MB, on %s; %s", label, *figures)
    return replace(candidate, variants=chosen)


def _choose(recipe: Recipe, candidate: Candidate, unmeasured: tuple[Variant, ...]) -> tuple[Variant, ...]:
    """The variants, one of them packaged, as a host measures them; the choice is kept if it is final."""
    from models import variants
    from ratchet.evaluation.variants import choose

    has_choice = len(unmeasured) > 1
    if not has_choice:
        measured_on, timings = "no host, as the recipe tries no other variant", dict[str, Timing]()
    else:
        log.info("running the latency benchmark on a host")
        measured_on, timings = on_a_host(candidate, unmeasured, recipe.memory_mb)
    chosen = choose(unmeasured, timings, measured_on, recipe.answers.tolerance)
    if timings or not has_choice:  # without a host a choice is not final
        variants.save(candidate, chosen)
    return chosen


@stage
def evaluate(name: str, candidate: Candidate) -> tuple[Candidate, EvaluationReport]:
    """The candidate with its report. If a smaller variant is rejected, fp32 is evaluated instead.

    Raises Refusal if the candidate is rejected, which ends the run.
    """
    from models import variants
    from models.evaluate import evaluate as run_evaluation
    from ratchet.evaluation.variants import reject_packaged

    state, recipe = api.state_of(name), load_recipe(name)
    champions = [*state.former, *([state.champion] if state.champion else [])]
    # The champion's own version in a new package is compared with those before it, as it was the first time.
    others = [package for package in champions if package.version != candidate.version]
    with scratch_folder(outside_home=True) as folder:
        report = run_evaluation(recipe, candidate, others, folder)
        if not report.blessed and candidate.packaged != candidate.onnx:
            log.info("the smaller variant was rejected, so fp32 is evaluated: %s", report.why)
            candidate = replace(candidate, variants=reject_packaged(candidate.variants, f"rejected: {report.why}"))
            variants.save(candidate, candidate.variants)
            report = run_evaluation(recipe, candidate, others, folder)
    _publish_report(name, report)
    model_cards.publish(candidate, report)
    if not report.blessed:
        serves = api.what_serves(state)
        sentence = f"Version {report.version} of {name} was rejected: {report.why}. {serves}."
        notify_once(api.open_ledger(), name, "rejected", report.version, sentence)
        next = f"It stays registered and is never served. {serves}"
        raise Refusal(f"version {report.version} was rejected: {report.why}", name, next)
    return candidate, report


def _publish_report(name: str, report: EvaluationReport) -> None:
    rows = [to_json(check) for check in report.checks]
    create_table_artifact(rows, key=f"evaluation-{name}", description=f"Version {report.version}: {report.why}")
    for check in report.checks:
        log.info("%s: %s (%s)", check.name, check.outcome, check.detail)


def package_key(name: str, candidate: Candidate) -> str:
    """The key of the package that would serve it: the same weights with other service code are another one."""
    from bentos import build

    return build.package_key(load_recipe(name), candidate.packaged, candidate.vocabulary)


def revision(candidate: Candidate, key: str) -> str:
    """The name of the candidate in the package with this key."""
    from bentos import build

    return build.revision(candidate.version, key)


@stage
def package(name: str, candidate: Candidate, report: EvaluationReport) -> Package:
    """The bento, built once for a package key and kept with the version in MLflow."""
    from bentos import build
    from models import registry
    from ratchet import memo

    recipe, key = load_recipe(name), package_key(name, candidate)

    def work() -> Package:
        built = _build(recipe, candidate, report, key)
        champion = api.state_of(name).champion
        if champion is None or champion.version != candidate.version:  # else the tag follows its promotion
            registry.set_tag(name, candidate.version, "ratchet.package", json.dumps(to_json(built)))
        return built

    inputs = {"package": key, "version": candidate.version, "memory": recipe.memory_mb}
    stage_key = memo.key("package", build.VERSION, **inputs, evaluation=to_json(report))
    built, new = memo.run(stage_key, Package, work, source=build.build, valid=lambda p: registry.has(p.artifact))
    log.info("%s %s, SHA-256 %s", built.tag, "built" if new else "was built before", built.digest[:16])
    return built


def _build(recipe: Recipe, candidate: Candidate, report: EvaluationReport, key: str) -> Package:
    from bentos import build, golden
    from models import candidate as candidates
    from models import registry

    identity = {"package": key, "model": recipe.name, "version": candidate.version}
    sources = {"run": candidate.run_id, "snapshot": candidate.snapshot.fingerprint, "commit": candidate.commit}
    with scratch_folder(outside_home=True) as folder:
        exported = candidates.exported(recipe, candidate, folder)
        files = sorted(exported.path.parent.iterdir())
        inputs = golden.choose_inputs(recipe, snapshots.load(recipe, candidate.snapshot, shown=True))
        outputs = exported.predict(inputs)
        contents = build.Contents(files, inputs, outputs, identity | sources, model_cards.card(candidate, report))
        tag, bento = build.build(recipe, candidate.version, contents, folder)
        artifact = registry.path_of(candidate, bento.name)
        registry.upload(artifact, bento)
        return Package(recipe.name, candidate.version, key, tag, sha256(bento), artifact, recipe.memory_mb)


@stage
def release(package: Package, strategy: str | None = None) -> None:
    """Requests the release, shows in a run of `warm` how each host warms it, and watches the controller promote it.

    If the run is killed, the next one continues with the request that it made.
    """
    state = api.state_of(package.recipe)

    def report(line: str) -> None:
        log.info(line)
        _publish_release(package)

    if not (state.challenger == package and state.kind == "release"):
        plan = load_recipe(package.recipe).release_plan
        plan = plan.with_strategy(strategy) if strategy else plan
        if cost := release_price.sentence(load_recipe(package.recipe), plan):
            log.info("%s", cost)
        state = api.release(package, plan, WHO, f"blessed candidate {package.version}")
    api.publish_run(package.recipe, str(flow_run.id), state.attempt)
    if state.phase == "warming":
        _start_warm_runs(package, state.hosts)
    try:
        api.watch(package, report)
    finally:
        _publish_release(package)


def _start_warm_runs(package: Package, hosts: tuple[str, ...]) -> None:
    """A run of `warm` on each host's own queue. They only report, so their faults are logged and change nothing."""
    for host in hosts:
        try:
            runs.start("warm/gpu", {"package": to_json(package)}, queue=host)
        except Refusal as refusal:
            log.warning("host %s: %s", host, refusal)


def _publish_release(package: Package) -> None:
    """The release so far as an artifact: each event with its checks and the split after it."""
    release = history.release(api.open_ledger().read(package.recipe), package.version)
    rows = []
    for event in release["events"]:
        at, traffic = datetime.fromtimestamp(event["at"], UTC), str(from_json(Split, event["split"]))
        checks = "; ".join(f"{c['name']} {c['outcome']}: {c['detail']}" for c in event.get("checks", ()))
        row = {"at": at.isoformat(" ", "seconds"), "event": event["event"], "who": event["who"]}
        rows.append({**row, "traffic": traffic, "checks": checks, "why": event.get("why", "")})
    description = f"The release of version {package.version}"
    create_table_artifact(rows, key=f"release-{package.recipe}", description=description)


@stage
def smoke_test(package: Package) -> None:
    """Sends the golden set to the gateway as a caller would, and saves what is served as an artifact."""
    from bentos import golden
    from models import registry
    from ratchet.fleet.package_cache import MODEL, PackageCache

    # This worker's machine need not be a host's, so the package is fetched here.
    with PackageCache(settings()).using(package, registry.fetch_package) as folder:
        result = golden.replay(settings().gateway_url, folder / MODEL)
    log.info("the gateway answers %d golden inputs as expected, p50 %.2f ms", result.count, result.p50_ms)
    create_markdown_artifact(
        f"**{package.recipe}** version {package.version} is served at {settings().gateway_url}/{package.recipe}/\n\n"
        f"- bento `{package.tag}`\n- SHA-256 `{package.digest}`\n- golden answers through the gateway: {result.count}",
        key=f"served-{package.recipe}",
    )
