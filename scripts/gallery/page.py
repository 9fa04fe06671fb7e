"""A page under way: text, commands that are run as they are shown, and small pictures."""

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

BYTES_AT_MOST = 150_000
COLOURS = 64  # of a picture: radar in bands of colour needs no more


class Page:
    """A Markdown file and its pictures.

    Args:
        folder: where they are written.
        name: of the file.
        title: of the page.
        work: where commands run; has data/dwd, configs and runs/demo.
    """

    def __init__(self, folder: Path, name: str, title: str, work: Path) -> None:
        self.folder, self.name, self.work = folder, name, work
        self.parts = [f"# {title}"]

    def text(self, text: str) -> None:
        """A paragraph."""
        self.parts.append(text)

    def command(self, line: str) -> str:
        """Show a command and run it; its stdout."""
        self.parts.append(f"```bash\n{line}\n```")
        words = shlex.split(line.replace("\\\n", " "))
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.work, check=True, stdout=subprocess.PIPE
        )
        return done.stdout.decode()

    def code(self, code: str, title: str = "") -> dict[str, Any]:
        """Show Python, under a title, and run it in `work`; the names that it leaves."""
        head = f'```python title="{title}"' if title else "```python"
        self.parts.append(f"{head}\n{code}```")
        names: dict[str, Any] = {}
        with contextlib.chdir(self.work):
            exec(compile(code, self.name, "exec"), names)
        return names

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table, numbers to the right."""
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        self.parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def picture(self, caption: str, picture: NDArray[np.uint8] | Path | Figure) -> None:
        """An RGB array, a file or a figure as a PNG of few colours; raises if it is too large."""
        image: Image.Image
        if isinstance(picture, Figure):
            drawn = BytesIO()
            picture.savefig(drawn, format="png", dpi=100)
            image = Image.open(drawn)
        else:
            image = Image.open(picture) if isinstance(picture, Path) else Image.fromarray(picture)
        number = sum("](" in part and part.startswith("!") for part in self.parts) + 1
        path = self.folder / f"{self.name}-{number}.png"
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
        size = path.stat().st_size
        if size > BYTES_AT_MOST:
            raise ValueError(f"{path}: expected at most {BYTES_AT_MOST} bytes, found {size}")
        self.parts.append(f"![{caption}]({path.name})\n\n*{caption}*")

    def write(self) -> None:
        """The Markdown file."""
        text = "\n\n".join([*self.parts, "Made by `python -m scripts.gallery`.\n"])
        (self.folder / f"{self.name}.md").write_text(text, encoding="utf-8")
