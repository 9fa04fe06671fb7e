"""A part of a config, and the kinds of values that several parts take."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

# Absolute, so that a run's config means the same from every folder.
Place = Annotated[
    Path, Field(strict=False), AfterValidator(lambda path: path.expanduser().resolve())
]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["fp32", "tf32", "bf16"]


class Section(BaseModel):
    """A frozen part of a config; unknown keys are errors, and so is a value of another kind: true,
    7.5 and "7" are no whole numbers, NaN and infinity no numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # for `nowcast config keys` and the JSON Schema
    )

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_tuples(cls, found: object) -> object:
        """YAML and JSON have lists where settings have tuples."""
        return tuples(found)


def tuples(found: object) -> object:
    """Lists as tuples, and what else there is as it is."""
    return tuple(tuples(item) for item in found) if isinstance(found, list) else found
