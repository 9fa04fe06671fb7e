"""Whether an installation without extras has what it promises: MEmeL, and a clear message.

Run where nowcast is installed: ``python scripts/check_bare.py``.
"""

import subprocess
import sys
from importlib.util import find_spec

import torch
from torch import nn

from nowcast import plug_in, unplug

EXTRAS = ("typer", "pydantic", "cv2", "h5py", "matplotlib", "tensorboard", "transformers")


def main() -> None:
    """Train a small CNN with MEmeL for 20 steps; then ask for the command line."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    images, labels = torch.randn(64, 1, 8, 8), torch.randint(0, 2, (64,))
    model(images)
    plug_in(model, ["1"], neuron_dims=(1,), late_start=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(20):
        batch = slice(step * 16 % 64, step * 16 % 64 + 16)
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    unplug(model)
    assert sum(losses[-4:]) < sum(losses[:4]), losses
    there = [name for name in EXTRAS if find_spec(name)]
    sys.stdout.write(f"MEmeL trains: loss {losses[0]:.3f} -> {losses[-1]:.3f}; extras: {there}\n")
    if "typer" not in there:
        said = subprocess.run([sys.executable, "-m", "nowcast"], capture_output=True, text=True)
        assert "memel-nowcast[radar]" in said.stderr and "Traceback" not in said.stderr, said


if __name__ == "__main__":
    main()
