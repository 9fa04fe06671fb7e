"""Which scores tables show, and which a leaderboard shows beside them."""

from typing import Literal

from nowcast.core.scoring.table import Column
from nowcast.precipitation.units import THRESHOLD_NAMES
from nowcast.precipitation.verification.ensembles.ranks import CENTRAL


def by_threshold(
    score: str, text: str, best: Literal["less", "more", "one"], digits: int
) -> tuple[Column, ...]:
    """A score of events at each threshold; the least is perfect at 0, others at 1."""
    limits = (0.0, None if best == "one" else 1.0)
    perfect = 0.0 if best == "less" else 1.0
    return tuple(
        Column(f"{score}/{T}", f"{text} ≥ {T} mm/h", best, digits, perfect=perfect, limits=limits)
        for T in THRESHOLD_NAMES
    )


COLUMNS = (
    Column("b_mse", "B-MSE", "less", 0, perfect=0.0, limits=(0.0, None)),
    Column("b_mae", "B-MAE", "less", 0, perfect=0.0, limits=(0.0, None)),
    *by_threshold("csi", "CSI", "more", 3),
)

# CRPS tells ensembles and others apart, whose CRPS is the mean absolute error.
ENSEMBLE_COLUMNS = (
    Column("crps_mm_h", "CRPS, mm/h", "less", 3, perfect=0.0, limits=(0.0, None), tested=True),
    Column(
        "crps_pixel", "CRPS, pixel units", "less", 4, perfect=0.0, limits=(0.0, None), tested=True
    ),
    *by_threshold("brier", "Brier score", "less", 4),
    *by_threshold("roc_area", "ROC area", "more", 3),
    *by_threshold("reliability_gap", "greatest departure from reliability", "less", 2),
    Column("spread_skill_mm_h", "spread / skill, mm/h", "one", 2, perfect=1.0, limits=(0.0, None)),
    Column(
        "spread_skill_pixel",
        "spread / skill, pixel units",
        "one",
        2,
        perfect=1.0,
        limits=(0.0, None),
    ),
    *(
        Column(
            f"coverage/{percent}",
            f"coverage of the central {percent} %",
            "level",
            2,
            perfect=percent / 100,
            limits=(0.0, 1.0),
        )
        for percent in CENTRAL
    ),
    Column(
        "member_spectrum/4",
        "power of a member at 4-8 px",
        "one",
        2,
        perfect=1.0,
        limits=(0.0, None),
    ),
    Column(
        "ensemble_fss/5/16",
        "FSS of the probability ≥ 5 mm/h, 16 px",
        "more",
        3,
        perfect=1.0,
        limits=(0.0, 1.0),
    ),
)

DETAILS = (
    Column("fss/0.5/16", "FSS ≥ 0.5 mm/h, 16 px", "more", 3, perfect=1.0, limits=(0.0, 1.0)),
    Column("fss/5/16", "FSS ≥ 5 mm/h, 16 px", "more", 3, perfect=1.0, limits=(0.0, 1.0)),
    Column("hss/2", "HSS ≥ 2 mm/h", "more", 3, perfect=1.0, limits=(-1.0, 1.0)),
    *by_threshold("bias", "bias", "one", 2),
    *by_threshold("csi_matched", "bias-matched CSI", "more", 3),
    *by_threshold("csi_fitted", "CSI at its own threshold", "more", 3),
    *by_threshold("bias_fitted", "bias at its own threshold", "one", 2),
    Column("rain_amount", "rain amount", "one", 2, perfect=1.0, limits=(0.0, None)),
    Column("spectrum/4", "power at 4-8 px", "one", 2, perfect=1.0, limits=(0.0, None)),
    Column("ssim", "SSIM", "more", 3, perfect=1.0, limits=(-1.0, 1.0)),
    Column("rmse_mm_h", "RMSE, mm/h", "less", 2, perfect=0.0, limits=(0.0, None)),
    *ENSEMBLE_COLUMNS,
)
