"""Pages on trained networks: a comparison, an audit, an export."""

import csv
import json
from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from nowcast.core.report.charts import lines
from scripts.gallery.page import Page

CHARTS = {"b_mse": "B-MSE", "csi/0.5": "CSI ≥ 0.5 mm/h", "csi/5": "CSI ≥ 5 mm/h"}
COMPARE = "nowcast compare configs/precipitation/demo.yaml data.root=data/dwd --out runs/demo"
NOT_RUN = "not run by the tests: the demo's, which takes minutes"
ONLY_HERE = "not run by the tests: the gallery runs it, on the demo's network"
EXPORTED = """\
from pathlib import Path
import numpy as np
import torch
from PIL import Image

program = torch.export.load("forecast/exported.pt2").module()  # nowcast is not needed
files = sorted(Path("data/dwd/radarPNG").rglob("*.png"))[-282:-276]
frames = np.stack([np.asarray(Image.open(file)) for file in files]) / np.float32(255)
frames = torch.from_numpy(frames)[None, :, None]  # batch, time, 1, height, width
made = program(frames)  # pixel units: 0 is -10 dBZ, 1 is 60 dBZ
"""


def comparison(page: Page) -> None:
    """The demo: P- and T- variants beside baselines."""
    page.text(
        "The demo's comparison: networks pretrained with and without MEmeL (P-), fine-tuned "
        "without (T-), 3 seeds each, beside optical flow "
        "and the weights that ship."
    )
    page.parts.append(f'```bash title="{NOT_RUN}"\n{COMPARE}\n```')
    folder = page.work / "runs" / "demo"
    rows = (folder / "table.md").read_text("utf-8").splitlines()
    page.text("\n".join(row for row in rows if row.startswith("|")))
    page.picture("Scores by lead time; bands are a standard deviation over seeds", _curves(page))
    page.text("In the report's words, of fine-tuning after pretraining with and without MEmeL:")
    with (folder / "significance.csv").open(encoding="utf-8") as file:
        said = [
            row["in_words"]
            for row in csv.DictReader(file)
            if {row["one"], row["other"]} == {"T-MEmeL", "T-Original"} and row["score"] in CHARTS
        ]
    page.text("\n".join(f"- {sentence}" for sentence in said))
    page.text("`runs/demo/report.html` has the rest. [How to compare](../train.md#compare).")


def _curves(page: Page) -> Figure:
    document = json.loads((page.work / "runs" / "demo" / "scores.json").read_text("utf-8"))
    curves: dict[str, dict[str, list[list[float]]]] = {score: defaultdict(list) for score in CHARTS}
    minutes: list[float] = []
    for row in document["rows"]:
        leads = row["by_lead_time"]
        minutes = leads["minutes"]
        for score in CHARTS:
            family, _, member = score.partition("/")
            found = leads[family][member] if member else leads[family]
            curves[score][row["forecaster"]].append(found)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (score, title) in zip(figure.subplots(1, 3), CHARTS.items(), strict=True):
        axes.set(title=title, xlabel="minutes")
        styles = lines(curves[score])
        for name, seeds in curves[score].items():
            values = np.array(seeds, dtype=float)
            mean, spread = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else 0
            style = styles[name]
            axes.plot(minutes, mean, color=style.colour, linestyle=style.style, label=name)
            axes.fill_between(minutes, mean - spread, mean + spread, color=style.colour, alpha=0.15)
    figure.axes[0].legend(fontsize=7)
    return figure


def audit(page: Page) -> None:
    """What one update does to the picked neurons, and what breaks without a neuron."""
    run = "runs/demo/runs/P-Original/seed0"
    page.text(
        "What does one update do to the most monosemantic values, with each way to deactivate"
        " them (table 4 of Wang et al.)? "
        "The network is the demo's P-Original, seed 0."
    )
    page.command(
        f"nowcast audit inhibition {run} memel.top_k=50 --steps 4 --neurons 100000 --out audit"
    )
    page.picture(
        "Ratios of each method, means with 95 % intervals over 4 updates",
        page.work / "audit/inhibition.png",
    )
    page.text(
        "Which channels respond to one group of clips alone, and what breaks when they are "
        "silenced?"
    )
    page.command(
        f"nowcast audit neurons {run} --features by_rain_rate --split valid --top 3 --out "
        f"audit \\\n  data.stride=24"
    )
    page.picture("Loss without a channel, by group of clips", page.work / "audit/neurons.png")
    page.text(
        "More updates: [table 4](../results.md#decrease-ratio-table-4). "
        "Read such marks with care: [what they mean](../memel.md#what-it-does-to-a-network)."
    )


def export(page: Page) -> None:
    """A trained network as one file, used without nowcast."""
    page.text(
        "A trained network as one file, for programs that have torch and not nowcast; any "
        "batch, height and width."
    )
    said = page.command("nowcast export runs/demo/runs/P-MEmeL/seed0 forecast/exported.pt2")
    page.text("```text\n" + said.strip() + "\n```")
    names = page.code(EXPORTED, ONLY_HERE)
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = {"last input": names["frames"][0, -1, 0]} | {
        f"forecast {lead + 1}": names["made"][0, lead, 0]
        for lead in (0, 3, names["made"].shape[1] - 1)
    }
    for axes, (title, frame) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        axes.imshow(frame.detach().numpy(), vmin=0, vmax=0.7, cmap="Blues")
        axes.set(title=title, xticks=[], yticks=[])
    page.picture("What the file forecasts from frames of 20 May 2018, in pixel units", figure)
    page.text(
        "`.onnx` works alike (`pip install -e '.[export]'`). [What is checked before a file "
        "is kept](../operate.md#export)."
    )
