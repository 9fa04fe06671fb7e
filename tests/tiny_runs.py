"""Run folders made without training, for what only needs weights to be there."""

from pathlib import Path

import torch
from torch import nn

from nowcast.core.memel.plug import plug_in
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.training.checkpoint import save_weights
from nowcast.precipitation.forecasting.forecast import Choice
from nowcast.precipitation.settings import PrecipitationSettings

STAGE = {"channels": 2, "hidden": 4, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1]}
IN_LEN, OUT_LEN = 4, 3


def write_run(folder: Path, lagrangian: bool = False, **data: object) -> tuple[Choice, nn.Module]:
    """A run with MEmeL in its weights, 4 frames in and 3 out; as a choice, and its model."""
    from nowcast.core.storage.runs import Run

    content = {
        "data": {"in_len": IN_LEN, "out_len": OUT_LEN, **data},
        "model": {"stages": [STAGE, STAGE], "lagrangian": lagrangian},
        "memel": {},
    }
    settings = PrecipitationSettings.model_validate(content, context={"evaluating": True})
    torch.manual_seed(0)
    model = settings.model.build(IN_LEN, OUT_LEN)
    nn.init.constant_((model.network if lagrangian else model).head.bias, 0.2)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    plug_in(model, "*.candidate", dry_run=lambda host: host(torch.zeros(1, IN_LEN, 1, 16, 16)))
    folder.mkdir(parents=True)
    config = settings.model_dump(mode="json")
    save_weights(folder / "best.safetensors", model, config)
    (folder / "config.yaml").write_text(dumps(config))
    bare = settings.model.build(IN_LEN, OUT_LEN).eval()
    bare.load_state_dict(state)
    return Choice(str(folder), settings, Run(folder)), bare
