"""launch/slurm.sbatch: the step it runs, the shard of an array's task, and when the job is queued again."""

import shlex
import signal
import time

import pytest

from tests.launch.conftest import counted

WORDS = ("annotate", "--config=configs/base.py", "--config.annotate.abstain_phrases=I don't know")
JOB = {"SLURM_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "16"}
STEP = ["srun", "--cpus-per-task=16", "--kill-on-bad-exit=0"]


def dry(host, *words, **variables):
    return shlex.split(host.run("launch/slurm.sbatch", *words, DRY_RUN="1", **JOB, **variables)[0])


def test_every_task_of_the_job_runs_the_words_as_they_are(host):
    assert dry(host, *WORDS) == [*STEP, "slick", *WORDS]
    assert dry(host, *WORDS, SLICK="/x/python -m slick_jax.main")[3:6] == ["/x/python", "-m", "slick_jax.main"]


def array(number, first, step, count, last=None):
    last = first + (count - 1) * step if last is None else last
    numbers = {"ID": number, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}


@pytest.mark.parametrize(("task", "shard"), [(array(3, 0, 1, 8), "3/8"), (array(8, 1, 1, 8), "7/8"),
                                             (array(12, 0, 4, 4), "3/4")])  # fmt: skip
def test_tasks_of_an_array_take_their_shards_of_a_study(host, task, shard):
    study = ["study", "--config=c.py"]
    assert dry(host, *study, **task) == [*STEP, "slick", *study, f"--shard={shard}"]
    assert dry(host, *study, "--shard=1/2", **task)[-1] == "--shard=1/2"
    assert "--shard" not in " ".join(dry(host, *WORDS, **task))


def test_tasks_without_a_regular_step_take_no_shards_and_share_the_runs_as_they_come(host):
    study = ["study", "--config=c.py"]
    assert dry(host, *study, **array(5, 3, 1, 2, last=5)) == [*STEP, "slick", *study]  # --array=3,5


@pytest.mark.parametrize(
    ("status", "restarts", "again"), [(0, 0, False), (2, 0, False), (1, 0, False), (75, 0, True), (137, 3, True),
                                      (75, 20, False)],
)  # fmt: skip
def test_a_job_that_was_stopped_or_killed_is_queued_again(host, status, restarts, again):
    host.program("srun", counted([status], host.folder))
    host.program("scontrol")
    host.run("launch/slurm.sbatch", *WORDS, status=status, SLURM_RESTART_COUNT=str(restarts), **JOB)
    assert [call for call in host.calls if call.startswith("scontrol")] == ["scontrol 'requeue' '77'"] * again


@pytest.mark.parametrize(("sent", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_before_the_time_is_up_the_work_is_saved_and_queued_and_a_cancelled_job_is_not(host, sent, again):
    # Its srun kills the process when it is told to end itself, as SLURM's does; scancel reaches the process.
    work = f'trap "exit 75" TERM; echo > "{host.folder}/up"; while :; do sleep 0.05; done'
    pid = f"{host.folder}/pid"
    host.program("srun", f'({work}) & echo $! > "{pid}"; trap "kill -KILL $!" TERM; wait $!; s=$?; wait $!; exit $s')
    host.program("scancel", f'[[ "$*" == "--signal=TERM 77" ]] && kill -TERM "$(cat "{pid}")"')
    host.program("scontrol")
    process = host.start("launch/slurm.sbatch", *WORDS, **JOB)
    for _ in range(600):
        if (host.folder / "up").exists():
            break
        time.sleep(0.05)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == 75  # that of the step, not of the interrupted wait
    assert any(call.startswith("scontrol") for call in host.calls) == again
