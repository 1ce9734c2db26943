"""When a process is one of several: by its settings or its cluster; commands that run in one process refuse."""

import pytest

from slick_jax.config import DistributedConfig
from slick_jax.main import main
from slick_jax.processes import joining

STEP = {"SLURM_STEP_NODELIST": "node[1-4]", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
MPI = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # a batch script, not a step of srun
        (STEP | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_NODES": "1"}, None),
        (STEP | {"SLURM_STEP_NUM_NODES": "4"}, {"local_device_ids": []}),  # a task a node: all of its GPUs
        (STEP | {"SLURM_STEP_NUM_NODES": "1"}, {}),  # four on one node: a GPU each, as JAX has it
        (MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, {"local_device_ids": []}),
        (MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, {}),
    ],
)
def test_clusters(environment, expected):
    assert joining._others(DistributedConfig(), environment, several=True) == expected
    assert joining._others(DistributedConfig(cluster="none"), environment, several=True) is None


def test_tpu_hosts_are_joined_only_by_commands_that_share_their_work_out(monkeypatch):
    monkeypatch.setattr(joining, "_is_tpu_host", lambda environment: True)
    assert joining._others(DistributedConfig(), {}, several=True) == {}
    assert joining._others(DistributedConfig(), {}, several=False) is None


def test_settings_come_before_the_cluster():
    settings = DistributedConfig(coordinator="h:1", process_count=2, process_index=1)
    assert joining._others(settings, STEP, several=True) == {
        "coordinator_address": "h:1", "num_processes": 2, "process_id": 1, "cluster_detection_method": "deactivate",
    }  # fmt: skip


MEETING = [
    f"--config.distributed.{name}={value}"
    for name, value in {"coordinator": "127.0.0.1:1", "process_count": 2, "process_index": 0}.items()
]


def test_commands_that_compute_alone_refuse_and_their_remedy_works(root, tmp_path, monkeypatch, capsys):
    for name, value in (STEP | {"SLURM_STEP_NUM_NODES": "4"}).items():
        monkeypatch.setenv(name, value)
    arguments = ["gradual", f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path}"]
    arguments += ["--config.model.path=nowhere", "--config.train.keep=best,last"]
    for more in ([], MEETING, [*MEETING, "--config.distributed.cluster=none"]):
        assert main([*arguments, *more]) == 2
        told = capsys.readouterr().err
        assert "`slick gradual` runs in one process" in told and "cluster=none and no coordinator" in told
    assert main([*arguments, "--config.distributed.cluster=none"]) == 2
    assert "runs in one process" not in capsys.readouterr().err


def test_commands_that_need_no_peers_take_the_config_of_those_that_do(root, tmp_path, capsys):
    arguments = [f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path}", *MEETING]
    assert main(["data", *arguments]) == 0
    assert main(["export", *arguments, "--config.export.checkpoint=nowhere", "--config.export.out=nowhere"]) == 2
    assert "runs in one process" not in capsys.readouterr().err


def test_a_study_says_how_several_processes_share_it(root, tmp_path, monkeypatch, capsys):
    for name, value in (STEP | {"SLURM_STEP_NUM_NODES": "4"}).items():
        monkeypatch.setenv(name, value)
    arguments = ["study", f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path}"]
    assert main([*arguments, "--config.model.path=nowhere"]) == 2
    assert "config.distributed.cluster=none and no coordinator: any number of" in capsys.readouterr().err
