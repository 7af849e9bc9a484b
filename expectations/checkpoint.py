"""The only file that uses Great Expectations: runs a recipe's suite on a batch and builds Data Docs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.expectation import Expectation
from ratchet.files import locked
from ratchet.settings import TELEMETRY_OFF, settings
from ratchet.types import ExpectationResult, SuiteResult

if TYPE_CHECKING:
    import pandas as pd

KEEP = 50
"""Runs whose Data Docs are kept: GX writes a page and a file per run and never prunes them."""


def docs() -> Path:
    return settings().home / "gx" / "uncommitted" / "data_docs" / "local_site" / "index.html"


def check(
    recipe: str, batch: str, frame: pd.DataFrame, suite: tuple[Expectation, ...], keep: bool = True, show: bool = True
) -> SuiteResult:
    """Runs the suite on a table of statistics, one row per record; Data Docs have a page of it, if it is to be kept.

    Where values are not to be shown, the result has counts and numbers alone. A suite that checked nothing (no rows, no
    expectation, or one that raised) has failed.
    """
    if not suite or frame.empty:
        why = "the suite has no expectation" if not suite else "the batch has no valid record"
        return SuiteResult(batch, False, len(frame), (), str(docs()), why)
    os.environ.update(TELEMETRY_OFF)
    try:
        # All recipes share one file context, and two runs may validate at the same time.
        with locked(settings().home / "gx.lock"):
            result = _run(recipe, batch, frame, suite, keep)
    except Exception as error:
        return SuiteResult(batch, False, len(frame), (), str(docs()), f"the suite raised: {error}"[:500])
    results = tuple(_result(e, r, frame, show) for e, r in zip(suite, result, strict=True))
    failed = [e for e in results if not e.passed]
    pairs = zip(results, suite, strict=True)
    why = "; ".join(_sentence(result, expectation.setting) for result, expectation in pairs if not result.passed)
    return SuiteResult(batch, not failed, len(frame), results, str(docs()), why)


def _run(recipe: str, batch: str, frame: pd.DataFrame, suite: tuple[Expectation, ...], keep: bool) -> list[Any]:
    """GX's result of each expectation, in the suite's order."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    where: dict[str, Any] = {"mode": "file", "project_root_dir": settings().home} if keep else {"mode": "ephemeral"}
    context: Any = gx.get_context(**where)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_or_update_pandas("records")
    asset = source.add_dataframe_asset(recipe)
    definition = asset.add_batch_definition_whole_dataframe("batch")
    # All at once: `add_expectation` reads and writes the store for each.
    expectations = [
        getattr(gx.expectations, each.type)(**each.arguments, meta={"number": number, "batch": batch})
        for number, each in enumerate(suite)
    ]
    gx_suite = context.suites.add_or_update(gx.ExpectationSuite(recipe, expectations=expectations))
    actions = [gx.checkpoint.UpdateDataDocsAction(name="docs")] if keep else []
    validation = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=recipe, data=definition, suite=gx_suite)
    )
    checkpoint = context.checkpoints.add_or_update(gx.Checkpoint(
        name=recipe, validation_definitions=[validation],
        actions=actions, result_format={"result_format": "COMPLETE"},
    ))  # fmt: skip
    run_id = gx.RunIdentifier(run_name=f"{recipe}-{batch}")
    outcome = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=run_id)
    results = next(iter(outcome.run_results.values())).results
    _prune()
    return sorted(results, key=lambda r: r.expectation_config.meta["number"])


def _sentence(result: ExpectationResult, setting: str) -> str:
    change = f" (the suite's `{setting}`)" if setting else ""
    return f"{result.name} on {result.column or 'the table'}: {result.observed}, expected {result.limit}{change}"


def _result(expectation: Expectation, result: Any, frame: pd.DataFrame, show: bool) -> ExpectationResult:
    raised = (result.exception_info or {}).get("exception_message") if result.exception_info else None
    values = result.result or {}
    if raised or not values:
        observed = f"it raised: {raised}" if raised else "nothing was observed"
        return ExpectationResult(expectation.type, expectation.column, False, str(observed)[:300], expectation.says)
    index = values.get("unexpected_index_list") or []
    records = tuple(str(frame["record"].iloc[int(i)]) for i in index[:20])
    if "element_count" in values:
        worst = values.get("partial_unexpected_list") or []
        observed = f"{values['unexpected_count']} of {values['element_count']} are not"
        observed += f" (such as {worst[0]})" if worst and show else ""
    elif show or isinstance(values.get("observed_value"), int | float):
        observed = f"observed {values.get('observed_value')}{_missing(expectation, frame)}"
    else:
        observed = "values are not shown"
    passed = bool(result.success)
    return ExpectationResult(expectation.type, expectation.column, passed, observed[:300], expectation.says, records)


def _missing(expectation: Expectation, frame: pd.DataFrame) -> str:
    """The names of what the column has no value for."""
    present = set(frame[expectation.column].explode()) if expectation.names else set()
    missing = [name for number, name in enumerate(expectation.names) if not present & {number, name}]
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f", without {', '.join(missing[:5])}{more}" if missing else ""


def _prune() -> None:
    for folder in ("validations", "data_docs/local_site/validations"):
        base = settings().home / "gx" / "uncommitted" / folder
        runs = sorted((p for p in base.glob("*/*/*") if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in runs[KEEP:]:
            for file in sorted(old.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            old.rmdir()
