"""Make the gallery: `python -m scripts.gallery data/dwd runs/demo [docs/gallery]`.

The first is the archive of `nowcast data sample`, the second the finished comparison of
`scripts/demo.sh`. About five minutes on two cores. `forecasts.gif` of the front page is written
beside the folder.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.gallery.page import Page
from scripts.gallery.radar import flow, front, through_pysteps, verification
from scripts.gallery.training import audit, comparison, export

ROOT = Path(__file__).parents[2]
PAGES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "flow": ("Optical flow against the network", flow),
    "verification": ("A verification", verification),
    "comparison": ("A comparison with and without MEmeL", comparison),
    "audit": ("An audit", audit),
    "export": ("An export", export),
    "pysteps": ("Through pysteps", through_pysteps),
}


def make(archive: Path, demo: Path, folder: Path, only: tuple[str, ...] = ()) -> None:
    """Write all pages and their pictures into a folder.

    Args:
        archive: DWD's sample.
        demo: a finished comparison of configs/precipitation/demo.yaml.
        folder: of the pages.
        only: names of pages; none: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        work = Path(name)
        for path, target in {
            "data/dwd": archive,
            "runs/demo": demo,
            "configs": ROOT / "configs",
        }.items():
            (work / path).parent.mkdir(exist_ok=True)
            (work / path).symlink_to(target.resolve())
        for page_name in only or PAGES:
            title, write = PAGES[page_name]
            page = Page(folder, page_name, title, work)
            write(page)
            page.write()
    lines = [f"- [{title}]({name}.md)" for name, (title, _) in PAGES.items()]
    text = "# Gallery\n\nShort pages with pictures, made by code from real radar.\n\n" + "\n".join(
        lines
    )
    (folder / "index.md").write_text(f"{text}\n", encoding="utf-8")
    if not only:
        front(archive, folder.parent / "forecasts.gif")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    make(
        arguments[0],
        arguments[1],
        arguments[2] if len(arguments) > 2 else ROOT / "docs" / "gallery",
        tuple(argument.name for argument in arguments[3:]),
    )
