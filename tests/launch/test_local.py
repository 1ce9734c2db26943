"""launch/local.sh: processes, their GPUs and addresses, and when they are started again.

Two real processes are started by it in tests/stores/test_processes_on_store.py.
"""

import shlex
import signal
import time

import pytest

from tests.launch.conftest import counted

GPUS = "printf '%s\\n' 0 1 2 3 4 5 6 7"
WORDS = ("annotate", "--config=configs/base.py", "--config.annotate.abstain_phrases=I don't know,a $HOME b")


def lines(printed):
    return [shlex.split(line) for line in printed.splitlines()]


def test_one_process_takes_all_gpus_and_is_given_the_words_as_they_are(host):
    host.program("nvidia-smi", GPUS)
    printed, _ = host.run("launch/local.sh", *WORDS, DRY_RUN="1")
    assert lines(printed) == [["env", "slick", *WORDS]]


def test_processes_share_the_gpus_and_are_told_of_each_other(host):
    host.program("nvidia-smi", GPUS)
    printed, _ = host.run("launch/local.sh", *WORDS, DRY_RUN="1", PROCESSES="4", PORT="8476")
    for index, words in enumerate(lines(printed)):
        joined = [
            "--config.distributed.coordinator=127.0.0.1:8476",
            "--config.distributed.process_count=4",
            f"--config.distributed.process_index={index}",
        ]
        assert words == ["env", f"CUDA_VISIBLE_DEVICES={2 * index},{2 * index + 1}", "slick", *WORDS, *joined]
    assert index == 3


def test_processes_of_a_study_share_chosen_gpus_and_do_not_join(host):
    host.program("nvidia-smi", GPUS)
    chosen = {"CUDA_VISIBLE_DEVICES": "5,GPU-8a", "PROCESSES": "2", "DRY_RUN": "1"}
    printed, _ = host.run("launch/local.sh", "study", "--config=c.py", **chosen)
    study = ["slick", "study", "--config=c.py"]
    assert lines(printed) == [["env", f"CUDA_VISIBLE_DEVICES={gpu}", *study] for gpu in ("5", "GPU-8a")]


@pytest.mark.parametrize("driver", [None, "echo 'NVIDIA-SMI has failed'; exit 9"])
def test_without_gpus_processes_are_told_of_each_other_alone(host, driver):
    if driver:
        host.program("nvidia-smi", driver)
    printed, _ = host.run("launch/local.sh", *WORDS, DRY_RUN="1", PROCESSES="2")
    assert [words[:2] for words in lines(printed)] == [["env", "slick"]] * 2
    assert len({words[-3] for words in lines(printed)}) == 1  # one port for both


def test_gpus_that_cannot_be_shared_are_refused(host):
    host.program("nvidia-smi", GPUS)
    _, told = host.run("launch/local.sh", *WORDS, PROCESSES="3", status=2)
    assert "8 GPUs cannot be shared by PROCESSES=3" in told


@pytest.mark.parametrize(
    ("statuses", "end", "starts"),
    [((0,), 0, 1), ((75, 137, 0), 0, 3), ((2,), 2, 1), ((1,), 1, 1), ((75, 75, 75, 75), 75, 4)],
)
def test_it_is_started_again_when_it_was_stopped_or_killed_and_not_when_it_failed(host, statuses, end, starts):
    host.program("slick", counted(statuses, host.folder))
    host.run("launch/local.sh", "annotate", status=end)
    assert len(host.calls) == starts


def test_bad_input_of_one_process_is_told_before_the_stop_of_another(host):
    host.program("slick", 'case "$*" in *index=0*) exit 2 ;; *) exit 75 ;; esac')
    host.run("launch/local.sh", "annotate", PROCESSES="2", status=2)
    assert len(host.calls) == 2


def test_a_killed_process_of_a_study_comes_back_while_the_others_go_on(host):
    host.program("nvidia-smi", GPUS)
    last = f'"{host.folder}/gpu-$CUDA_VISIBLE_DEVICES"'
    first = f'if [[ $CUDA_VISIBLE_DEVICES == 0,* && ! -e {last} ]]; then echo > {last}; kill -KILL $$; fi'
    # The other one ends when the killed one has come back.
    back = f'if [[ $CUDA_VISIBLE_DEVICES == 0,* ]]; then echo > "{host.folder}/back"; fi'
    wait = f'until [[ -e "{host.folder}/back" ]]; do sleep 0.05; done'
    host.program("slick", f"{first}\n{back}\n{wait}")
    _, told = host.run("launch/local.sh", "study", "--config=c.py", PROCESSES="2")
    assert [call for call in host.calls if call.startswith("slick")] == ["slick 'study' '--config=c.py'"] * 3
    assert "ended with status 137; start 2 of 4" in told


@pytest.mark.parametrize("command", ["annotate", "study"])
def test_a_signal_reaches_every_process_and_is_the_end(host, command):
    host.program("slick", f'trap "exit 75" TERM; echo > "{host.folder}/up-$$"; while :; do sleep 0.05; done')
    process = host.start("launch/local.sh", command, PROCESSES="2")
    for _ in range(600):
        if len(list(host.folder.glob("up-*"))) == 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert len(host.calls) == 2
