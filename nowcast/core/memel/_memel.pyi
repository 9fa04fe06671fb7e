from torch import Tensor

Statistics = tuple[Tensor, Tensor, Tensor, Tensor]

def see(
    values: Tensor,
    output: Tensor,
    statistics: Statistics,
    chosen: Tensor,
    scale: Tensor | None,
    moments: Tensor | None,
    channels_last: bool,
    forget_steps: int,
    late_start: int,
    eps: float,
    given: bool = False,
    /,
) -> tuple[int, int]: ...
def sift(
    values: Tensor,
    output: Tensor | None,
    statistics: Statistics,
    found: Tensor,
    away: Tensor | None,
    scale: Tensor | None,
    moments: Tensor | None,
    threshold: float,
    forget_steps: int,
    late_start: int,
    eps: float,
    /,
) -> tuple[int, int, int]: ...
def count(moments: Tensor, statistics: Statistics, forget_steps: int, /) -> None: ...
def turn(gradient: Tensor, output: Tensor, chosen: Tensor, delta: float, /) -> None: ...
