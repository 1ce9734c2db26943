"""When a process is one of several: by its settings or its cluster; commands that run in one process refuse."""

import pytest

from slick_jax import processes
from slick_jax.config import DistributedConfig
from slick_jax.main import main

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
    assert processes._others(DistributedConfig(), environment, several=True) == expected
    assert processes._others(DistributedConfig(cluster="none"), environment, several=True) is None


def test_tpu_hosts_are_joined_only_by_commands_that_share_their_work_out(monkeypatch):
    monkeypatch.setattr(processes, "_is_tpu_host", lambda environment: True)
    assert processes._others(DistributedConfig(), {}, several=True) == {}
    assert processes._others(DistributedConfig(), {}, several=False) is None


def test_settings_come_before_the_cluster():
    settings = DistributedConfig(coordinator="h:1", process_count=2, process_index=1)
    assert processes._others(settings, STEP, several=True) == {
        "coordinator_address": "h:1", "num_processes": 2, "process_id": 1, "cluster_detection_method": "deactivate",
    }  # fmt: skip


def test_other_commands_refuse(root, tmp_path, monkeypatch, capsys):
    arguments = ["export", f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path}"]
    arguments += ["--config.export.checkpoint=nowhere", "--config.export.out=nowhere"]
    told = "`slick export` runs in one process"
    flags = {"coordinator": "127.0.0.1:1", "process_count": "2", "process_index": "0"}
    assert main([*arguments, *(f"--config.distributed.{name}={value}" for name, value in flags.items())]) == 2
    assert told in capsys.readouterr().err
    for name, value in (STEP | {"SLURM_STEP_NUM_NODES": "4"}).items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_study_says_how_several_processes_share_it(root, tmp_path, monkeypatch, capsys):
    for name, value in (STEP | {"SLURM_STEP_NUM_NODES": "4"}).items():
        monkeypatch.setenv(name, value)
    arguments = ["study", f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path}"]
    assert main([*arguments, "--config.model.path=nowhere"]) == 2
    assert "config.distributed.cluster=none and no coordinator: any number of" in capsys.readouterr().err
