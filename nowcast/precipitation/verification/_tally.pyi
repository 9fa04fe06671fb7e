from torch import Tensor

def tally(
    prediction: Tensor,
    truth: Tensor,
    mask: Tensor,
    thresholds: Tensor,
    rises: Tensor,
    counts: Tensor,
    errors: Tensor,
    /,
) -> None: ...
