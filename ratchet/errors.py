"""The one type of a refusal."""


class Refusal(Exception):
    """What happened, to which thing, and what to do next.

    The command, the flow's state and the HTTP response all render it in the same way.

    >>> str(Refusal("the file is empty", "a.csv", "Give a file with records"))
    'the file is empty: a.csv. Give a file with records.'
    """

    def __init__(self, what: str, which: object, next: str) -> None:
        super().__init__(what, str(which), next)
        self.what, self.which, self.next = what, str(which), next

    def __str__(self) -> str:
        return f"{self.what}: {self.which}. {self.next}."

    def to_json(self) -> dict[str, str]:
        """The body of an HTTP response. `error` is a string, as the Open Inference Protocol requires."""
        return {"error": self.what, "which": self.which, "next": self.next}


class Gone(Refusal):
    """What was there once, and was removed."""


class Busy(Refusal):
    """What is refused now, and may be accepted later: nothing is wrong with it."""
