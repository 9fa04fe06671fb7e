"""Windows of time ahead: the largest rain rate, or the rain that falls, within so many minutes."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from nowcast.core.errors import ConfigError

Kind = Literal["max", "sum"]
WRITTEN = re.compile(r"(max|sum):(\d+)(?: ?min)?", re.ASCII)


@dataclass(frozen=True)
class Window:
    """From the init time to some minutes after it.

    Args:
        kind: ``max``, the largest rain rate (mm/h) of its lead times; ``sum``, the rain that falls
            (mm), each lead time's rate lasting for the step before it.
        minutes: its length.

    Raises:
        ConfigError: no such kind, or no length.
    """

    kind: Kind
    minutes: int

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.minutes < 1:
            raise ConfigError(
                f"window: expected max or sum and a whole number of minutes, found {self.kind!r} "
                f"and {self.minutes!r}; write for instance max:30"
            )

    @classmethod
    def read(cls, text: str) -> "Window":
        """The window of a text such as ``max:30`` or ``sum:60min``; ConfigError for another."""
        match = WRITTEN.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                "--window: expected max:MINUTES or sum:MINUTES such as max:30,sum:60, found "
                f"{text!r}"
            )
        kind: Kind = "max" if match[1] == "max" else "sum"
        return cls(kind, int(match[2]))

    @property
    def unit(self) -> str:
        """Of its values."""
        return "mm" if self.kind == "sum" else "mm/h"

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.kind}:{self.minutes}"

    def steps(self, step_minutes: int, out_len: int) -> int:
        """How many lead times it has.

        Raises:
            ConfigError: it is no whole number of steps, or is longer than the forecast.
        """
        steps, rest = divmod(self.minutes, step_minutes)
        whole = max(1, steps) * step_minutes
        if rest:
            longer = f" or {self.kind}:{whole + step_minutes}" if steps else ""
            raise ConfigError(
                f"--window {self.name}: expected a multiple of {step_minutes} minutes, the step of "
                f"the frames, found {self.minutes}; write {self.kind}:{whole}{longer}"
            )
        if steps > out_len:
            raise ConfigError(
                f"--window {self.name}: expected at most {out_len * step_minutes} minutes, which "
                f"the forecast has, found {self.minutes}; ask for --lead {self.minutes}min"
            )
        return steps
