"""A task of a few numbers, to test the loop without rain: fit y = 2x."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.report.player import Reel, Scale
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column
from nowcast.core.settings import RunSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.sampling import draws

SAMPLES = 37


@dataclass(frozen=True)
class ToyBatch:
    x: Tensor

    def to(self, device: torch.device) -> "ToyBatch":
        return ToyBatch(self.x.to(device))

    def take(self, which: np.ndarray) -> "ToyBatch":
        return ToyBatch(self.x[which])

    def names(self) -> list[str]:
        return [f"x={value:.2f}" for value in self.x[:, 0].tolist()]


class ToyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 8)
        self.hidden = nn.Identity()
        self.last = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(torch.tanh(self.first(x))))


class PlainToy:
    """No more than a `Task`."""

    sites = ("hidden",)
    objective = ("error",)
    loss_scale = 1.0
    mask = None

    def __init__(self, settings: RunSettings, reuse: object = None) -> None:
        self.settings = settings
        self.x = torch.linspace(-1, 1, SAMPLES).unsqueeze(1)

    def model(self) -> nn.Module:
        return ToyModel()

    def dry_run(self, model: nn.Module) -> object:
        return model(torch.zeros(1, 1))

    def epoch(self) -> int:
        return SAMPLES

    def samples(self, split: str) -> int:
        return SAMPLES

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        step = start
        while True:
            size, seed = self.settings.train.batch_size, self.settings.train.seed
            chosen = draws(seed, step, size, (SAMPLES,))[ranks.rank :: ranks.size, 0]
            yield ToyBatch(self.x[chosen])
            step += 1

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[ToyBatch]:
        mine = self.x[ranks.rank :: ranks.size]
        yield from (ToyBatch(part) for part in mine.split(self.settings.train.batch_size))

    def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
        return (model(batch.x) - 2 * batch.x).square().mean()

    def score(self, model: nn.Module, batch: ToyBatch) -> Sums:
        error = (model(batch.x) - 2 * batch.x).double().square().sum(0)
        return Sums({"error": error.numpy(), "samples": np.array([len(batch.x)])})

    def read(self, sums: Sums) -> Scores:
        error = float(sums["error"][0] / sums["samples"][0])
        return Scores({"error": error}, {"error": (error,)}, "place", (1.0,))

    def data_hash(self) -> str:
        return "toy"


class ComparedToy(PlainToy):
    """Without pictures or groups."""

    columns = (Column("error", "Error", "less", 3, perfect=0.0),)
    details = (Column("error", "Error again", "one", 2, perfect=1.0),)
    reference = "identity"
    verify = PlainToy.score

    def baseline(self, name: str) -> nn.Module:
        if name != "identity":
            raise ConfigError(f"unknown baseline {name}")
        return nn.Identity()

    def blocks(self, split: str, batch: ToyBatch) -> list[str]:
        return [f"{value:.0f}" for value in (5 * batch.x[:, 0]).tolist()]

    def block_names(self, split: str) -> list[str]:
        return list(dict.fromkeys(self.blocks(split, ToyBatch(self.x))))

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        return self.read(sums).values

    def facts(self, split: str) -> Mapping[str, Any]:
        return {"samples": SAMPLES, "split": split}

    def describe(self, split: str) -> str:
        return f"{SAMPLES} numbers, {split} split"


class ToyTask(ComparedToy):
    features = ("sign",)

    def pictures(self, model: nn.Module, split: str) -> Mapping[str, Any]:
        return {"a square": np.full((4, 6, 3), (255, 0, 64), dtype=np.uint8)}

    def reels(self, models: Mapping[str, nn.Module], split: str) -> list[Reel]:
        """The last three answers, the larger the redder, as if they were lead times."""

        def red(answers: Tensor) -> np.ndarray:
            levels = (127 * answers[-3:, 0].clamp(0, 2)).byte().numpy()
            frames = np.zeros((3, 4, 6, 3), np.uint8)
            frames[..., 0] = levels[:, None, None]
            return frames

        with torch.inference_mode():
            forecasts = {name: red(model.eval()(self.x)) for name, model in models.items()}
        scale = Scale("answer", [("0", (0, 0, 0)), ("2", (254, 0, 0))])
        labels = ("+1", "+2", "+3")
        return [Reel("the last x", labels, red(2 * self.x), forecasts, scale=scale)]

    def gallery(self, parts: object, models: object, split: str, out: Path) -> Mapping[str, Path]:
        return {}

    def groups(self, feature: str, batch: ToyBatch) -> list[str]:
        if feature != "sign":
            raise ConfigError(f"unknown feature {feature}")
        return ["positive" if value > 0 else "negative" for value in batch.x[:, 0].tolist()]
