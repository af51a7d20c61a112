"""What is said of a request that cannot be carried out."""

from collections.abc import Sequence


class RequestError(ValueError):
    """What is wrong with a request; one sentence for each problem."""

    __qualname__ = "Invalid request"  # as Cog begins what it tells a client

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        if len(problems) == 1:
            super().__init__(problems[0])
        else:
            numbered = " ".join(f"({number}) {text}" for number, text in enumerate(problems, 1))
            super().__init__(f"{len(problems)} problems: {numbered}")
