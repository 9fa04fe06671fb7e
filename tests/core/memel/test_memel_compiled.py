"""MEmeL within what torch makes of a model: compiled without a break, exported as nothing."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from nowcast import MEmeL


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.memel = MEmeL((8, 6, 6), late_start=3, forget_steps=4)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.last(self.memel(torch.tanh(self.first(values))))


CONTROLS = ("share", "penalty", "sham")
COMPILED = """
import copy, sys
import torch
from torch import nn
from nowcast import MEmeL

torch.manual_seed(0)
eager = nn.Sequential(
    nn.Conv2d(2, 8, 3, padding=1), nn.Tanh(),
    MEmeL((8, 6, 6), late_start=3, forget_steps=4, convention=sys.argv[1],
        method=sys.argv[2]), nn.Conv2d(8, 1, 1),
).to(memory_format=torch.channels_last)
with torch.no_grad():
    eager[2].prepare(eager[:2](torch.zeros(1, 2, 6, 6)))
host = copy.deepcopy(eager)
compiled = torch.compile(host, fullgraph=True, backend="aot_eager")
for step in range(8):
    values = torch.randn(5, 2, 6, 6)
    with torch._dynamo.config.patch(error_on_recompile=step > 0):
        one, other = compiled(values), eager(values)
    one.square().sum().backward()
    other.square().sum().backward()
    torch.testing.assert_close(one, other)
torch.testing.assert_close(host[0].weight.grad, eager[0].weight.grad)
torch.testing.assert_close(host[2].running_var, eager[2].running_var)
assert host[2].num_batches_tracked == 8
"""


@pytest.mark.parametrize(
    ("convention", "method"),
    [
        ("paper", "memel"),
        ("released", "memel"),
        *(pytest.param("paper", name, marks=pytest.mark.slow) for name in CONTROLS),
    ],
)
def test_compiles_without_a_graph_break_or_a_second_compilation(convention: str, method: str):
    # In a process of its own: these tests' own checks of annotations cannot be compiled.
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, convention, method],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_exports_as_the_identity():
    host = Host().eval()
    nodes = torch.export.export(host, (torch.zeros(1, 2, 6, 6),)).graph.nodes
    calls = [str(node.target) for node in nodes if node.op == "call_function"]
    assert calls == ["aten.conv2d.default", "aten.tanh.default", "aten.conv2d.default"]
