"""Every YAML in configs/ is valid, and every comparison's variants are."""

from pathlib import Path

import pytest

from nowcast.api import config
from nowcast.core.execution.jobs import plan
from nowcast.core.settings import CompareSettings
from nowcast.registry import settings_class
from tests import ROOT

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_valid(path: Path):
    content = config.read(path)
    comparison = content.pop("compare", None)

    def resolve(changes):
        changed = config.overridden(content, changes)
        return config.validate(settings_class(content["task"]), changed, str(path))

    assert resolve({}).task == path.parent.name
    if comparison is not None:
        settings = config.validate(CompareSettings, comparison, str(path))
        jobs = plan(settings, resolve, Path("out"))
        trained = len(settings.seeds) * len(settings.variants)
        assert len(jobs) == trained + len(settings.baselines)


def test_no_config_names_a_folder_of_ours():
    assert not [path for path in CONFIGS if config.read(path).get("data", {}).get("root")]


def test_no_config_asks_for_what_half_of_all_processors_lack():
    """bf16 is emulated there, 12 times slower than fp32; auto takes it where it is in hardware."""
    found = {path.stem: config.read(path).get("train", {}).get("precision") for path in CONFIGS}
    assert "bf16" not in found.values()
    assert [found[name] for name in ("release", "swin", "table1_small")] == ["auto"] * 3
