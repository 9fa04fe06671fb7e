def tally(
    prediction: int,
    truth: int,
    mask: int,
    thresholds: int,
    rises: int,
    counts: int,
    sums: int,
    clips: int,
    leads: int,
    pixels: int,
    /,
) -> None: ...
