"""A process that srun started finds its place among the others, as Slurm says it."""

import pytest

from nowcast.core.system.slurm import as_torchrun

# Of the third of five tasks on nodes of 2, 2 and 1.
TASK = {
    "SLURM_JOB_ID": "20417",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_STEP_NODELIST": "gpu[07-08,11]",
}


def test_a_task_of_srun_is_a_rank():
    assert as_torchrun(TASK) == {
        "RANK": "2",
        "WORLD_SIZE": "5",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": str(15_000 + 418),
    }


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("a[003,5]-ib,b2", "a003-ib"),
        ("rack[1-2]n[04-09],x", "rack1n04"),
    ],
)
def test_rank_0_is_on_the_first_node(nodes: str, first: str):
    assert as_torchrun(TASK | {"SLURM_STEP_NODELIST": nodes})["MASTER_ADDR"] == first


def test_a_users_own_address_stands():
    own = {"MASTER_ADDR": "10.1.2.3", "MASTER_PORT": "4242"}
    said = as_torchrun(TASK | own)
    assert {name: said[name] for name in own} == own


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"},  # a batch script itself
        TASK | {"SLURM_STEP_NUM_TASKS": "1"},
        TASK | {"RANK": "0"},
    ],
)
def test_a_process_alone_or_of_torchrun_is_left_as_it_is(environment: dict[str, str]):
    assert as_torchrun(environment) == {}
