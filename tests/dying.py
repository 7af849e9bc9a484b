"""Runs a controller or an agent that ends, as by `kill -9`, before or after its nth action.

    python -m tests.dying releases.controller perform before 2

The actions are the calls of the named function: `perform` of `releases.act`, `append` or `say` of the
ledger, `_perform`, `_start` or `_prove` of the agent.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from releases import act, agent
from releases.ledger import Ledger

PLACES: dict[str, Any] = {"perform": act, "append": Ledger, "say": Ledger, "_perform": agent.Agent,
                          "_start": agent.Agent, "_prove": agent.Agent}  # fmt: skip
CODE = 9


def main(module: str, name: str, when: str, number: int) -> None:
    place = PLACES[name]
    real, count = getattr(place, name), 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if (count, when) == (number, "before"):
            os._exit(CODE)
        found = real(*arguments, **named)
        if (count, when) == (number, "after"):
            os._exit(CODE)
        return found

    setattr(place, name, dying)
    ticker.configure_logging()
    importlib.import_module(module).main()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
