"""What a GLUE config may say: which data set, which pretrained BERT."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nowcast.core.settings import Count, Place, RunSettings, Section
from nowcast.core.storage.pretrained import Pretrained

DataSetName = Literal["cola", "sst-2", "mrpc", "sts-b", "qqp", "mnli", "qnli", "rte", "wnli"]


class DataSettings(Section):
    """Which examples of which data set, and how they become tokens."""

    root: Place | None = None
    """The folder of GLUE's own folders, e.g. glue_data with RTE/train.tsv in it."""
    name: DataSetName = "rte"
    """The data set."""
    max_length: Annotated[int, Field(ge=8, le=512)] = 128
    """Tokens of an example; of longer ones the longer sentence loses its end."""
    padding: Literal["batch", "max_length"] = "batch"
    """What examples are filled up to: the longest of their batch, or always max_length."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training file that becomes the validation split; the dev file is then the test
    split. 0: the dev file is the validation split, and the test split, whose labels only GLUE's
    leaderboard knows, is for `nowcast submit`."""
    cache: Place | None = None
    """Folder of what has been tokenised; null is nowcast/glue in the user's cache folder."""


class ModelSettings(Section):
    """The encoder that is fine-tuned."""

    pretrained: Pretrained = "bert-base-uncased"
    """A folder with config.json, model.safetensors and a tokenizer, or a name at Hugging Face."""
    blocks: Count | None = None
    """The first so many of its encoder blocks, without those after them; null: all."""


class GlueSettings(RunSettings):
    """One run of the GLUE task."""

    incidental = RunSettings.incidental | {"data.cache", "model.pretrained"}

    task: Literal["glue"] = "glue"
    """Which task this config is of."""
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    """The network and its sizes."""

    @model_validator(mode="after")
    def _padding_is_counted(self) -> "GlueSettings":
        """Where padded places are neurons' samples there must always be as many."""
        released = self.memel is not None and self.memel.convention == "released"
        if released and self.data.padding != "max_length":
            raise ValueError(
                "memel.convention: released counts padding as the authors' code does, so every "
                "batch must have the same length: set data.padding: max_length"
            )
        return self
