"""BentoML's own API for rows. A parameter's name is the name in the request's body."""

from collections.abc import Callable, Mapping
from typing import Any

from ratchet.kinds.table.contract import TableContract


def apis(
    contract: TableContract,
    predict_one: Callable[[Callable[[], Any]], Any],
    predict_json: Callable[[list[Any]], Any],
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
        return await predict_json(rows_of(rows, columns, dataframe_split))

    async def explain(self: Any, rows: list[Any]) -> dict[str, Any]:
        """One row: the attribution of each column."""
        return await explain_json(rows)

    return {"predict": predict, "explain": explain}


def rows_of(rows: Any, columns: Any, split: Any) -> list[Any]:
    """The rows, whichever way they are sent. What is of another form stays as it is, for the contract to refuse."""
    given = [name for name, value in (("rows", rows), ("columns", columns), ("dataframe_split", split)) if value]
    if len(given) != 1:
        return []
    if split is not None and split:
        names, data = split.get("columns"), split.get("data")
        if not isinstance(names, list) or not isinstance(data, list):
            return []
        return [dict(zip(names, row, strict=False)) if _fits(row, names) else row for row in data]
    if columns:
        lists = [values for values in columns.values() if isinstance(values, list)]
        if len(lists) != len(columns) or len(set(map(len, lists))) != 1:
            return []
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    return list(rows)


def _fits(row: Any, names: list[Any]) -> bool:
    return isinstance(row, list) and len(row) == len(names) and all(isinstance(name, str) for name in names)
