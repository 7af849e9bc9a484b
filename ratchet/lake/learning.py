"""Lands inputs that were served and whose label came back as a batch, through the same checks as every other."""

import hashlib
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.kinds import parts
from ratchet.lake import encoding, ingest, outcomes, predictions, quarantine, seen, table
from ratchet.recipe import Recipe
from ratchet.types import Batch

_TURN = "outcomes"
"""In the commit of a batch: the last turn of the outcomes that it holds."""


def waiting(recipe: Recipe, since: float = 0.0) -> int:
    """Labelled inputs of predictions from then on, in seconds since 1970, that are kept and have not landed."""
    newest = _newest(recipe) if recipe.log.inputs else {}
    recent = {key for key, outcome in newest.items() if outcome["predicted_at"].timestamp() >= since}
    return len(_kept(recipe, recent)) if recent else 0


def _kept(recipe: Recipe, keys: set[outcomes.Key]) -> set[outcomes.Key]:
    """Those of the predictions whose input is kept."""
    mine = table.one_of("request", {request for request, _ in keys}) & (pc.field("origin") == "caller")
    kept = set[outcomes.Key]()
    for part in table.select(predictions.predictions(recipe.name), ["request", "row", "input", "origin"], mine):
        with_input = part.filter(pc.field("input").is_valid())
        kept |= set(zip(with_input["request"].to_pylist(), with_input["row"].to_pylist(), strict=True))
    return kept & keys


def new_records(recipe: Recipe, known: Collection[str], since: float) -> int:
    """Records from then on that are in none of the `known` batches: admitted, waiting for validation, or labelled."""
    home = ingest.lake(recipe.name)
    limit = pa.scalar(datetime.fromtimestamp(since, UTC), pa.timestamp("us", tz="UTC"))
    new = ~table.one_of("batch", known) & (pc.field("captured_at") >= limit)
    pending = table.one_of("batch", quarantine.pending(home))
    count = waiting(recipe, since)
    for name, where in (("records", new), ("landing", new & pending)):
        count += sum(part.num_rows for part in table.select(home / name, ["batch", "captured_at"], where))
    return count


def land(recipe: Recipe, who: str) -> Batch | None:
    """Lands them; None if there are none. The commit says how far, so each lands once whenever this is killed."""
    newest = _newest(recipe) if recipe.log.inputs else {}
    rows = [row for key, input in inputs_of(recipe, set(newest)) if (row := row_of(recipe, newest[key], input))]
    corrections = {f"{request}#{row}" for (request, row), outcome in newest.items() if outcome["correction"]}
    if not rows:
        return None
    for name in ("landing", "records", "quarantine"):
        table.keep_values_out_of_the_log(ingest.lake(recipe.name) / name)
    _remove_corrected(recipe, [row for row in rows if row["name"] in corrections], who)
    rows = _new(recipe, rows)
    turn = max(outcome["turn"] for outcome in newest.values())
    if not rows:
        _note_nothing(recipe, turn, who)
        return None
    _note_learnt(recipe, rows, who)
    id = hashlib.sha256(f"served {recipe.name} {last_turn(recipe)} {turn}".encode()).hexdigest()[:16]
    source = f"served requests with a label, up to commit {turn}"
    return ingest.land_read(
        recipe, id, pa.Table.from_pylist(rows, schema=encoding.ROWS), who, source, {_TURN: str(turn)}
    )


LEARNT = pa.schema({"request": pa.string(), "row": pa.int32(), "input": pa.string()})
"""The input digest of each record that a request became: a later contract may no longer read what was sent."""


def learnt(recipe: str) -> Path:
    return ingest.lake(recipe) / "learnt"


def _new(recipe: Recipe, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose input is no record yet: callers send the same again, and a suite allows few duplicates."""
    digests = [_digest(recipe, row) for row in rows]
    different = list(dict.fromkeys(filter(None, digests)))
    keys, home = seen.keys([pa.array(different, pa.string())]), ingest.lake(recipe.name)
    is_record = seen.among(home / "records", keys) | seen.among(home / "landing", keys)
    known = {digest for digest, each in zip(different, is_record, strict=True) if each}
    new = []
    for digest, row in zip(digests, rows, strict=True):
        if digest not in known:
            new.append(row)
        known |= {digest} - {""}
    return new


def _digest(recipe: Recipe, row: dict[str, Any]) -> str:
    """Of the input of a row; empty if that is none."""
    return recipe.contract.digest(row["data"], row["captured_at"]) if "data" in row else ""


def _note_learnt(recipe: Recipe, rows: list[dict[str, Any]], who: str) -> None:
    digests = []
    for row in (row for row in rows if "data" in row):
        request, _, number = row["name"].rpartition("#")
        digests.append({"request": request, "row": int(number), "input": _digest(recipe, row)})
    content = pa.Table.from_pylist(digests, schema=LEARNT)
    table.append(learnt(recipe.name), content, str(uuid.uuid4()), versions=False, who=who)


def _note_nothing(recipe: Recipe, turn: int, who: str) -> None:
    """Records that up to this turn there was nothing to learn."""
    table.append(learnt(recipe.name), LEARNT.empty_table(), _TURN, turn=turn, versions=False, who=who)


def _remove_corrected(recipe: Recipe, rows: list[dict[str, Any]], who: str) -> None:
    """Removes the records of inputs whose label was corrected: the newest label alone is learnt."""
    served = batches(recipe.name)
    for digest in filter(None, (_digest(recipe, row) for row in rows)):
        for name in ("records", "landing"):
            for batch in served:
                table.delete(
                    ingest.lake(recipe.name) / name, {"input": digest, "batch": batch}, who=who, why="corrected"
                )


def batches(recipe: str) -> set[str]:
    """The batches of served requests, which are shown nowhere and can be forgotten."""
    commits = table.history(ingest.lake(recipe) / "landing")
    return {commit["ratchet"].removeprefix("land:") for commit in commits if _TURN in commit}


def _newest(recipe: Recipe) -> dict[outcomes.Key, dict[str, Any]]:
    """The newest outcome of each prediction among those that have not landed."""
    rows = table.read(outcomes.path(recipe.name), ["request", "row", "label", "correction", "predicted_at", "turn"])
    if rows is None:
        return {}
    new = rows.filter(pc.field("turn") > last_turn(recipe)).sort_by("correction").to_pylist()
    return {(outcome["request"], outcome["row"]): outcome for outcome in new}


def last_turn(recipe: Recipe) -> int:
    """The last turn of the outcomes that have landed."""
    commits = table.history(ingest.lake(recipe.name) / "landing")
    landed = max((int(commit[_TURN]) for commit in commits if _TURN in commit), default=0)
    return max(landed, table.turn_of(learnt(recipe.name), _TURN))


def inputs_of(recipe: Recipe, keys: set[outcomes.Key]) -> Iterator[tuple[outcomes.Key, bytes]]:
    """The input of each of these predictions, of the first answer that a caller got."""
    mine = table.one_of("request", {request for request, _ in keys}) & (pc.field("origin") == "caller")
    first: dict[outcomes.Key, tuple[Any, bytes]] = {}
    columns = ["request", "row", "at", "input", "origin"]
    for part in table.select(predictions.predictions(recipe.name), columns, mine):
        for row in part.to_pylist():
            key = row["request"], row["row"]
            if key in keys and row["input"] is not None and (key not in first or row["at"] < first[key][0]):
                first[key] = row["at"], row["input"]
    for key, (_, input) in sorted(first.items()):
        yield key, input


def row_of(recipe: Recipe, outcome: dict[str, Any], input: bytes) -> dict[str, Any] | None:
    """A row as a reader of files would have read it; None if an input is no record."""
    contract, name = recipe.contract, f"{outcome['request']}#{outcome['row']}"
    at = outcome["predicted_at"]
    row = {"name": name, "label": outcome["label"], "captured_at": at}
    try:
        value = parts.records(contract.kind).served(contract, contract.unpack(input, 1, name), name, at)
        return None if value is None else {**row, "data": contract.encode(value, name)}
    except Refusal as refusal:  # it was served by a contract that was wider
        return {**row, "reason": refusal.what, "payload": input}
