"""What may import what, beyond the layers that import-linter keeps."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "nowcast"
HEAVY = ("torch", "cv2", "matplotlib", "tensorboard", "transformers", "scipy", "pydantic")


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_torch_distributed_has_one_owner():
    owners = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("torch.distributed") for name in imported(path))
    }
    assert owners == {"core/distributed.py"}


def test_nothing_reads_pickles():
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "allow_pickle=True" in path.read_text()
        or "weights_only=False" in path.read_text()
        or "pickle.load" in path.read_text()
    ]
    assert users == []


def test_import_and_help_wait_for_nothing_heavy():
    script = (
        "import sys, nowcast, nowcast.cli\n"
        "sys.argv = ['nowcast', '--help']\n"
        "try:\n    nowcast.cli.main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "evaluate" in done.stdout


def test_the_public_names_are_there():
    from nowcast import MEmeL, plug_in
    from nowcast.core import memel, plug

    assert MEmeL is memel.MEmeL
    assert plug_in is plug.plug_in
