"""Joins the processes of a run (jax.distributed), before anything touches a device."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from slick_jax.commands import COMMANDS
from slick_jax.config import Config, DistributedConfig
from slick_jax.errors import InputError

START_TIMEOUT = 900  # seconds that processes wait for each other at the start


def join(command: str, config: Config) -> None:
    """Join the other processes of this run, where the settings or the cluster say that there are some.

    TPU pods, srun and mpirun are recognised and then found by jax.distributed itself. Raises InputError for a command
    that runs in one process, and where the others cannot be found; who does not come up within START_TIMEOUT ends the
    rest with a message of JAX.
    """
    about, settings = COMMANDS[command], config.distributed
    if not (about.together or about.alone):  # the same config is given to commands that share their work out
        settings = dataclasses.replace(settings, coordinator="")
    found = _others(settings, os.environ, several=about.together)
    if found is None:
        return
    if not about.together:
        instead = (
            "set config.distributed.cluster=none and no coordinator: any number of such processes then share the runs"
            " by the run folder, each with the devices that it sees"
            if command == "study"
            else "start it once, over all devices of its host (or set config.distributed.cluster=none and no"
            " coordinator for processes that know nothing of each other)"
        )
        raise InputError(f"`slick {command}` runs in one process, and this is one of several; {instead}")

    import jax  # here, as the command line tells bad input without it

    if jax.distributed.is_initialized():
        raise InputError(
            "this process has joined others for an earlier command already; where several processes work together,"
            " start a script for each command"
        )
    # The end of one process shall not end the others by itself: what they finish is not lost.
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM, and nothing here asks it
    heartbeat = max(100, 2 * config.distributed.silence)  # what slick_jax.processes.peers notices is told more clearly
    try:
        jax.distributed.initialize(**found, initialization_timeout=START_TIMEOUT, heartbeat_timeout_seconds=heartbeat)
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(
            f"the other processes of this run cannot be found ({error}); give config.distributed.coordinator,"
            " process_count and process_index, or set config.distributed.cluster=none to work alone"
        ) from error
    _meet(command, config)


def _meet(command: str, config: Config) -> None:
    """What the processes that have found each other begin with."""
    from jax._src.distributed import global_state as joined  # JAX has no public way to its key-value store

    from slick_jax.processes.aborts import explain_loss
    from slick_jax.processes.peers import name_job

    if joined.num_processes > 1 and not config.run_dir:
        raise InputError("config.run_dir: empty, and several processes need a folder that all of them share")
    if joined.process_id == 0:
        joined.client.key_value_set("slick_jax/job", uuid.uuid4().hex[:12])
    else:
        explain_loss(command, joined.coordinator_address)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  process 0 tells all there is; errors go to stderr
    name_job(joined.client.blocking_key_value_get("slick_jax/job", 1000 * START_TIMEOUT))


def _others(settings: DistributedConfig, environment: Mapping[str, str], several: bool) -> dict | None:
    """Arguments of jax.distributed.initialize, None for a process of its own.

    several: whether the command can use them; TPU hosts are asked only then, as one by itself looks like one of many.
    """
    if settings.coordinator:
        return {
            "coordinator_address": settings.coordinator,
            "num_processes": settings.process_count,
            "process_id": settings.process_index,
            "cluster_detection_method": "deactivate",
        }
    if settings.cluster == "none":
        return None
    for step, size, alone in (
        ("SLURM_STEP_NODELIST", "SLURM_NTASKS", environment.get("SLURM_STEP_NUM_NODES")),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", _nodes_of_mpi(environment)),
    ):
        if step in environment and int(environment.get(size, 1)) > 1:
            # JAX gives each of them one GPU, which is right only where a host runs several.
            return {"local_device_ids": []} if alone == environment[size] else {}
    return {} if several and _is_tpu_host(environment) else None


def _nodes_of_mpi(environment: Mapping[str, str]) -> str | None:
    """Number of hosts of an mpirun that has one process on each, else None."""
    return environment.get("OMPI_COMM_WORLD_SIZE") if environment.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1" else None


def _is_tpu_host(environment: Mapping[str, str]) -> bool:
    platforms = environment.get("JAX_PLATFORMS", "")
    chips = any(Path(device).exists() for device in ("/dev/accel0", "/dev/vfio/0"))
    return chips and (not platforms or "tpu" in platforms) and importlib.util.find_spec("libtpu") is not None
