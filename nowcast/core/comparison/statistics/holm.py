"""Several tests at once: Holm's correction, under which one false claim among them stays rare."""

from collections.abc import Sequence


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Step-down: the k-th smallest of n p-values times n - k + 1, at most 1 and never falling.

    Holm 1979, Scandinavian Journal of Statistics 6, 65-70. It assumes nothing of how the tests
    depend on each other.

    Args:
        p: of a family of tests; None where there was nothing to test, which does not count.
    """
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(tested):
        largest = max(largest, min(1.0, value * (len(tested) - rank)))
        corrected[place] = largest
    return corrected
