from torch import Tensor

def open(
    x: Tensor,
    h: Tensor,
    update: Tensor,
    candidate: Tensor,
    reset: Tensor | None,
    carried: Tensor | None,
    signs: Tensor | None,
    slope: float,
    leak: float,
    /,
) -> None: ...
def close(
    update_gradient: Tensor,
    candidate_gradient: Tensor,
    update: Tensor,
    reset: Tensor,
    carried: Tensor,
    signs: Tensor,
    x_gradient: Tensor,
    h_gradient: Tensor,
    slope: float,
    leak: float,
    /,
) -> None: ...
def mix(candidate: Tensor, hidden: Tensor, update: Tensor, output: Tensor, /) -> None: ...
def unmix(
    gradient: Tensor,
    candidate: Tensor,
    hidden: Tensor,
    update: Tensor,
    candidate_gradient: Tensor,
    hidden_gradient: Tensor,
    update_gradient: Tensor,
    /,
) -> None: ...
