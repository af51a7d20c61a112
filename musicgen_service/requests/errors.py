"""The error for a request that cannot be carried out."""

from collections.abc import Sequence


class RequestError(ValueError):
    """A request is invalid; the message has one sentence for each problem."""

    __qualname__ = "Invalid request"  # Cog starts its error messages to clients with it

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        if len(problems) == 1:
            super().__init__(problems[0])
        else:
            numbered = " ".join(f"({number}) {text}" for number, text in enumerate(problems, 1))
            super().__init__(f"{len(problems)} problems: {numbered}")
