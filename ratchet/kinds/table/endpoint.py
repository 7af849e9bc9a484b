"""BentoML's own API for rows. A parameter's name is the name in the request's body."""

from collections.abc import Callable, Mapping
from typing import Any

from ratchet.endpoints import MAX_BATCH
from ratchet.errors import Refusal
from ratchet.kinds.table.contract import TableContract


def apis(
    contract: TableContract,
    predict_one: Callable[[Callable[[], Any]], Any],
    predict_json: Callable[[Callable[[], list[Any]]], Any],
    explain_json: Callable[[list[Any]], Any],
) -> Mapping[str, Callable[..., Any]]:
    """The methods of the service, by name."""

    async def predict(
        self: Any,
        rows: list[Any] | None = None,
        columns: dict[str, Any] | None = None,
        dataframe_split: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Rows as objects, columns as lists by name, or `dataframe_split` as pandas and MLflow write it."""
        return await predict_json(lambda: rows_of(rows, columns, dataframe_split))

    async def explain(self: Any, rows: list[Any]) -> dict[str, Any]:
        """One row: the attribution of each column."""
        return await explain_json(rows)

    return {"predict": predict, "explain": explain}


def rows_of(rows: Any, columns: Any, split: Any) -> list[Any]:
    """The rows, whichever way they are sent. Raises Refusal if they are sent in none or in several."""
    given = [name for name, value in (("rows", rows), ("columns", columns), ("dataframe_split", split)) if value]
    if len(given) != 1:
        what = f"there are both {' and '.join(given)}" if given else "there are no rows"
        raise Refusal(what, "the body", "Send one of `rows`, `columns` and `dataframe_split`")
    for name, value, kind in (("rows", rows, list), ("columns", columns, dict), ("dataframe_split", split, dict)):
        if value and not isinstance(value, kind):
            raise Refusal(f"`{name}` is no {'list' if kind is list else 'object'}", "the body", "See docs/recipes.md")
    sizes = [
        len(part) for part in (rows, *(columns or {}).values(), (split or {}).get("data")) if isinstance(part, list)
    ]
    if max(sizes, default=0) > MAX_BATCH:  # checked first, since rows take memory
        raise Refusal(f"there are {max(sizes)} rows", given[0], f"Send at most {MAX_BATCH}")
    if rows:
        return list(rows)
    return _from_columns(columns) if columns else _from_split(split)


def _from_columns(columns: Mapping[str, Any]) -> list[Any]:
    sizes = {name: len(values) if isinstance(values, list) else None for name, values in columns.items()}
    if None in sizes.values() or len(set(sizes.values())) != 1:
        shown = ", ".join(f"{name} {'no list' if size is None else size}" for name, size in sizes.items())
        raise Refusal(
            f"the columns are not lists of one length ({shown[:200]})", "columns", "Send a value a row in each"
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _from_split(split: Mapping[str, Any]) -> list[Any]:
    """As pandas writes it with `to_dict(orient="split")`: its index is left out."""
    names, data = split.get("columns"), split.get("data")
    if not isinstance(names, list) or not isinstance(data, list):
        raise Refusal("it has no lists `columns` and `data`", "dataframe_split", "Send what pandas writes")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            what = f"row {number} has not {len(names)} cells, one a column"
            raise Refusal(what, "dataframe_split", "Send what pandas writes")
    return [dict(zip(map(str, names), row, strict=True)) for row in data]
