def open(
    x: int,
    x_step: int,
    h: int,
    h_step: int,
    update: int,
    candidate: int,
    reset: int,
    carried: int,
    signs: int,
    rows: int,
    channels: int,
    slope: float,
    leak: float,
    is_bf16: bool,
    /,
) -> None: ...
def close(
    update_gradient: int,
    candidate_gradient: int,
    update: int,
    reset: int,
    carried: int,
    signs: int,
    x_gradient: int,
    h_gradient: int,
    rows: int,
    channels: int,
    slope: float,
    leak: float,
    is_bf16: bool,
    /,
) -> None: ...
def mix(
    candidate: int, hidden: int, update: int, output: int, count: int, is_bf16: bool, /
) -> None: ...
def unmix(
    gradient: int,
    candidate: int,
    hidden: int,
    update: int,
    candidate_gradient: int,
    hidden_gradient: int,
    update_gradient: int,
    count: int,
    is_bf16: bool,
    /,
) -> None: ...
