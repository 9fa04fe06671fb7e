"""What may import what, beyond the layers that import-linter keeps."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

from nowcast import __version__
from tests import ROOT

PACKAGE = ROOT / "nowcast"
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
POSIX_ONLY = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"}
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
    assert owners == {"core/system/distributed.py"}


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
        "import sys, nowcast, nowcast.cli.app\n"
        "sys.argv = ['nowcast', '--help']\n"
        "try:\n    nowcast.cli.app.main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "evaluate" in done.stdout


# What takes a second or a tenth of one, and what only some steps of a command need.
OF_TRAINING = ("torch._dynamo", "sympy", "tensorboard", "optuna", "transformers")
OF_PICTURES = ("matplotlib", "skimage", "cv2")
OF_NETCDF = ("xarray", "pandas", "scipy", "pint", "dask")


def test_a_task_and_a_forecast_import_what_they_need_and_no_more(synthetic: Path, tmp_path: Path):
    said = said_by(
        f"""import sys
def there(*names):
    return [name for name in names if name in sys.modules]
import nowcast.precipitation.task
print(there(*{(*OF_TRAINING, *OF_PICTURES, *OF_NETCDF)}))
import nowcast.cli.app
out = {str(tmp_path / "out")!r}
sys.argv = ["nowcast", "forecast", {str(synthetic)!r}, "--out", out]
nowcast.cli.app.app(standalone_mode=False)
print(there("matplotlib", *{(*OF_TRAINING, *OF_NETCDF)}))
"""
    )
    assert (said.splitlines()[0], said.splitlines()[-1]) == ("[]", "[]"), said
    assert {"forecast.gif", "forecast.nc"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_the_public_names_are_there():
    from nowcast import MEmeL, plug_in
    from nowcast.core.memel import layer as memel
    from nowcast.core.memel import plug

    assert MEmeL is memel.MEmeL
    assert plug_in is plug.plug_in


STATE = """
OTHERS = "KMP_", "QT_", "TORCHINDUCTOR_"  # variables that other libraries set for themselves
import json, locale, os, signal, sys, threading, warnings
def state():
    return {
        "environment": {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)},
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)],
        "threads": threading.active_count(),
        "folder": os.getcwd(),
        "hooks": [str(sys.excepthook), str(threading.excepthook)],
        "locale": locale.setlocale(locale.LC_ALL),
    }
"""


def said_by(script: str) -> str:
    """In a process that starts as a user's does: tests of the command line have set variables."""
    environment = {name: value for name, value in os.environ.items() if name != HUGE_PAGES}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_nowcast_changes_nothing_in_the_process():
    script = f"{STATE}\nbefore = state()\nfilters = list(warnings.filters)\nimport nowcast\n"
    said = said_by(f"{script}print(json.dumps([before, state(), filters == warnings.filters]))")
    before, after, same_filters = json.loads(said)
    assert after == before and same_filters


def test_importing_every_module_and_using_the_library_changes_nothing_either():
    """Numbers of threads, back-ends, random numbers and the allocator are the caller's."""
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.stem not in ("__main__", "__init__")
        and not path.stem.endswith("_triton")  # which need what only some machines have
    ]
    said = said_by(
        f"""{STATE}
import ctypes, importlib, logging, torch, cv2, matplotlib, optuna
from pathlib import Path

from tests import ROOT
def more():
    return {{
        "threads of torch": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "threads of OpenCV": cv2.getNumThreads(),
        "dtype": str(torch.get_default_dtype()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": [torch.backends.mkldnn.enabled, torch.backends.cudnn.benchmark],
        "grad": [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
        "random": torch.get_rng_state().sum().item(),
        "figures": matplotlib.rcParams["backend"] if "matplotlib.pyplot" in sys.modules else "",
        "optuna": optuna.logging.get_verbosity(),
        "logging": [logging.root.level, logging.root.manager.disable],
    }} | state()
class Told:
    def __getattr__(self, name):
        raise AssertionError(f"the library calls {{name}} of the C library")
before = more()
for name in {modules}:
    importlib.import_module(name)
from nowcast.core.system import allocator
allocator.ctypes = Told()
imported = more()
sys.path[:0] = [{str(ROOT)!r}]
import tempfile
from tests.core.toy import ToyTask
from tests.core.training.test_trainer import settings
from nowcast.core.system.distributed import Ranks
from nowcast.core.storage.runs import Run
from nowcast.core.training.trainer import train
from nowcast.core.tuning.search import Search
from nowcast.core.tuning.tune import run_search
from nowcast.core.settings import RunSettings, TuneSettings
def resolve(changes):
    return settings()
with tempfile.TemporaryDirectory() as folder:
    train(ToyTask(settings()), settings(), Run(Path(folder, "run")), Ranks())
    tune = TuneSettings(space={{"optim.lr": [0.01]}}, seed=0)
    where = Path(folder, "tune", "toy")
    run_search(Search("toy", tune, {{}}, resolve, ToyTask, where), Ranks())
print(json.dumps([before, imported, more()]))
"""
    )
    before, imported, used = json.loads(said)
    assert imported == before
    assert used == before


def test_what_other_systems_lack_is_not_imported_by_a_module():
    """At a module's top, unless it goes on without."""
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            {part.name for part in node.names} if isinstance(node, ast.Import) else {node.module}
        )
        if name in POSIX_ONLY
    }
    assert found == set()


def test_without_the_module_resource_a_run_tells_all_but_its_memory():
    script = (
        "import sys\nsys.modules['resource'] = None\nimport torch\n"
        "from nowcast.core.monitoring.throughput import Throughput\n"
        "print(sorted(Throughput(torch.device('cpu')).read()))\n"
    )
    assert said_by(script).strip() == "['data_wait_share', 'samples_per_second']"


def test_the_command_line_asks_for_huge_pages_before_torch_is_there():
    script = (
        "import os, sys\nos.environ.pop('THP_MEM_ALLOC_ENABLE', None)\nimport nowcast.cli.app\n"
        "assert 'THP_MEM_ALLOC_ENABLE' not in os.environ\nsys.argv = ['nowcast', '--version']\n"
        "try:\n    nowcast.cli.app.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(os.environ['THP_MEM_ALLOC_ENABLE'], 'torch' in sys.modules)\n"
    )
    assert said_by(script).splitlines() == [f"nowcast {__version__}", "1 False"]
