"""Runs a controller or an agent that ends, as by `kill -9`, before or after its nth action.

    python -m tests.dying releases.controller apply before 2

The actions are the calls of the named function: `apply` of the controller, `append` or `publish` of the ledger,
`_perform`, `_start` or `_verify` of the agent.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from releases import agent, controller, ticker
from releases.ledger import Ledger

PLACES: dict[str, Any] = {
    "apply": controller,
    "append": Ledger,
    "publish": Ledger,
    "_perform": agent.Agent,
    "_start": agent.Agent,
    "_verify": agent.Agent,
}
CODE = 9


def main(module: str, name: str, when: str, number: int) -> None:
    place = PLACES[name]
    real, count = getattr(place, name), 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if (count, when) == (number, "before"):
            os._exit(CODE)
        result = real(*arguments, **named)
        if (count, when) == (number, "after"):
            os._exit(CODE)
        return result

    setattr(place, name, dying)
    ticker.configure_logging()
    importlib.import_module(module).main()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
