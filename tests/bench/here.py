"""What stands in for a process of its own."""

from collections.abc import Callable


class Here:
    """In this process, where `Apart` has one of its own."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function

    def __call__(self) -> None:
        self.function()

    def peak_mib(self) -> float:
        return 1.0
