"""What Slurm's srun says of a process, in torchrun's words, so that it can start ranks, too."""

import re
from collections.abc import Mapping

PORT, PORTS = 15_000, 20_000  # where rank 0 listens: jobs on one machine choose others


def as_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that torchrun would set, of a process that ``srun`` started with others.

    Args:
        environment: of the process.

    Returns:
        nothing where the process is srun's only one, or where torchrun has set them. A user's own
        MASTER_ADDR and MASTER_PORT stand.
    """
    size = int(environment.get("SLURM_STEP_NUM_TASKS", 1))  # not set in a batch script itself
    if size == 1 or "RANK" in environment:
        return {}
    node = int(environment["SLURM_NODEID"])
    step = int(environment.get("SLURM_STEP_ID", 0))
    port = PORT + (int(environment["SLURM_JOB_ID"]) + step) % PORTS
    said = {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(_counts(environment["SLURM_STEP_TASKS_PER_NODE"])[node]),
        "MASTER_ADDR": _first(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(port),
    }
    given = ("MASTER_ADDR", "MASTER_PORT")
    return said | {name: environment[name] for name in given if name in environment}


def _counts(text: str) -> list[int]:
    """``4(x2),3`` is 4, 4 and 3."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in found for _ in range(int(times or 1))]


def _first(nodes: str) -> str:
    """The first of a list like ``gpu[03-05,09],cpu1``: gpu03."""
    found = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    assert found is not None
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", found[0])
