"""The only file that speaks Great Expectations: runs a recipe's suite on a batch and builds Data Docs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations.suite import Expectation
from ratchet.files import locked
from ratchet.settings import TELEMETRY_OFF, settings
from ratchet.words import Expected, SuiteResult

if TYPE_CHECKING:
    import pandas as pd

KEEP = 50
"""Runs whose Data Docs stay: GX writes a page and a file a run and never prunes."""


def docs() -> Path:
    return settings().home / "gx" / "uncommitted" / "data_docs" / "local_site" / "index.html"


def check(recipe: str, batch: str, frame: pd.DataFrame, suite: tuple[Expectation, ...]) -> SuiteResult:
    """Runs the suite on a table of statistics, a row a record.

    A suite that checked nothing — no rows, no expectation, one that raised — has failed.
    """
    if not suite or frame.empty:
        why = "the suite has no expectation" if not suite else "the batch has no good record"
        return SuiteResult(batch, False, len(frame), (), str(docs()), why)
    os.environ.update(TELEMETRY_OFF)
    try:
        # The file context is one for all recipes, and two runs may validate at once.
        with locked(settings().home / "gx.lock"):
            result = _run(recipe, batch, frame, suite)
    except Exception as error:
        return SuiteResult(batch, False, len(frame), (), str(docs()), f"the suite raised: {error}"[:500])
    expected = tuple(_expected(e, r, frame) for e, r in zip(suite, result, strict=True))
    failed = [e for e in expected if not e.passed]
    why = "; ".join(f"{e.name} on {e.column or 'the table'}: {e.observed}, expected {e.limit}" for e in failed)
    return SuiteResult(batch, not failed, len(frame), expected, str(docs()), why)


def _run(recipe: str, batch: str, frame: pd.DataFrame, suite: tuple[Expectation, ...]) -> list[Any]:
    """GX's result of each expectation, in the suite's order."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context: Any = gx.get_context(mode="file", project_root_dir=settings().home)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_or_update_pandas("records")
    asset = source.add_dataframe_asset(recipe)
    definition = asset.add_batch_definition_whole_dataframe("batch")
    made = gx.ExpectationSuite(recipe)
    for number, expectation in enumerate(suite):
        kind = getattr(gx.expectations, expectation.kind)
        made.add_expectation(kind(**expectation.arguments, meta={"number": number, "batch": batch}))
    made = context.suites.add_or_update(made)
    validation = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=recipe, data=definition, suite=made)
    )
    checkpoint = context.checkpoints.add_or_update(gx.Checkpoint(
        name=recipe, validation_definitions=[validation],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="docs")], result_format={"result_format": "COMPLETE"},
    ))  # fmt: skip
    run_id = gx.RunIdentifier(run_name=f"{recipe}-{batch}")
    outcome = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=run_id)
    results = next(iter(outcome.run_results.values())).results
    _prune()
    return sorted(results, key=lambda r: r.expectation_config.meta["number"])


def _expected(expectation: Expectation, result: Any, frame: pd.DataFrame) -> Expected:
    raised = (result.exception_info or {}).get("exception_message") if result.exception_info else None
    found = result.result or {}
    if raised or not found:
        observed = f"it raised: {raised}" if raised else "nothing was observed"
        return Expected(expectation.kind, expectation.column, False, str(observed)[:300], expectation.says)
    index = found.get("unexpected_index_list") or []
    records = tuple(str(frame["record"].iloc[int(i)]) for i in index[:20])
    if "element_count" in found:
        worst = found.get("partial_unexpected_list") or []
        observed = f"{found['unexpected_count']} of {found['element_count']} are not"
        observed += f" (such as {worst[0]})" if worst else ""
    else:
        observed = f"observed {found.get('observed_value')}"
    return Expected(
        expectation.kind, expectation.column, bool(result.success), observed[:300], expectation.says, records
    )


def _prune() -> None:
    for folder in ("validations", "data_docs/local_site/validations"):
        base = settings().home / "gx" / "uncommitted" / folder
        runs = sorted((p for p in base.glob("*/*/*") if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in runs[KEEP:]:
            for file in sorted(old.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            old.rmdir()
