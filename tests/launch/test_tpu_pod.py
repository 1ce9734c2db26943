"""launch/tpu_pod.sh against a stand-in for gcloud with slices that are made, lost and asked for again."""

import shlex
import subprocess
import threading

import pytest

SLICE = {"NAME": "pod", "TYPE": "v5litepod-16", "ZONE": "z", "POLL": "0"}
WORDS = ("annotate", "--config=configs/base.py", "--config.annotate.abstain_phrases=I don't know")
# State of the slice and of its request in two files; commands of `ssh` run here, in the folder of a host.
GCLOUD = """
cd "{0}"; node=$(cat node 2>/dev/null) request=$(cat request 2>/dev/null)
case "$*" in
  *queued-resources\\ create*) echo CREATING > node; echo PROVISIONING > request ;;
  *queued-resources\\ describe*)
    [[ $request ]] || exit 1
    echo "$request"
    if [[ $request == PROVISIONING ]]; then echo READY > node; echo ACTIVE > request; fi ;;
  *queued-resources\\ delete*) rm -f node request ;;
  *tpu-vm\\ describe*) [[ $node ]] || exit 1; echo "$node" ;;
  *scp*) [[ $node == READY ]] && cat "$5" > home/slick.tgz ;;
  *"uv pip"*) ;;
  *ssh*) [[ $node == READY ]] || exit 1
    for word in "$@"; do [[ $word != --command=* ]] || command=${{word#--command=}}; done
    HOME="{0}/home"; cd home; bash -c "$command" ;;
esac
"""


@pytest.fixture
def cloud(host):
    """A host whose gcloud has no slice; slick on the slice's host ends with the statuses of `ends`, one after another.

    At 137 the slice is preempted as well.
    """
    (host.folder / "home" / "slick" / ".venv" / "bin").mkdir(parents=True)
    host.program("gcloud", GCLOUD.format(host.folder))
    slick = host.folder / "home" / "slick" / ".venv" / "bin" / "slick"
    slick.write_text(
        f'#!/bin/bash\ncd "{host.folder}"; echo "${{*@Q}} [$LIBTPU_INIT_ARGS]" >> ran\n'
        "{ read -r status; mapfile -t rest; } < ends; printf '%s\\n' \"${rest[@]}\" > ends\n"
        "if [[ $status == 137 ]]; then echo PREEMPTED > node; echo SUSPENDED > request; fi\nexit \"$status\"\n"
    )
    slick.chmod(0o755)
    return host


def run(cloud, *ends, status=0, **variables):
    (cloud.folder / "ends").write_text("".join(f"{end}\n" for end in ends))
    pid = {"PID_FILE": str(cloud.folder / "slick.pid")}
    cloud.run("launch/tpu_pod.sh", *WORDS, status=status, **SLICE, **pid, **variables)
    return (cloud.folder / "ran").read_text().splitlines()


def of(cloud, *words):
    return [call for call in cloud.calls if all(f"'{word}'" in call for word in words)]


def test_a_slice_is_made_and_the_words_reach_slick_as_they_are(cloud):
    ran = run(cloud, 0, SPOT="1", LIBTPU_INIT_ARGS="--a=1 --b=2")
    assert [shlex.split(line.rpartition(" [")[0]) for line in ran] == [[*WORDS]]
    assert ran[0].endswith("[--a=1 --b=2]")
    made = shlex.split(of(cloud, "queued-resources", "create")[0])[1:]
    assert made == [
        "compute", "tpus", "queued-resources", "create", "pod", "--node-id=pod", "--accelerator-type=v5litepod-16",
        "--runtime-version=v2-alpha-tpuv5-lite", "--spot", "--zone=z",
    ]  # fmt: skip
    assert all("'--worker=all'" in call for call in of(cloud, "tpu-vm", "ssh") + of(cloud, "tpu-vm", "scp"))
    listed = subprocess.run(
        ["tar", "-tzf", cloud.folder / "home" / "slick.tgz"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"setup.py", "constraints.txt", "slick_jax/main.py", "configs/base.py"} <= set(listed)
    assert not any("__pycache__" in name for name in listed)


def test_a_slice_that_is_there_is_used(cloud):
    (cloud.folder / "node").write_text("READY\n")
    assert len(run(cloud, 0)) == 1
    assert not of(cloud, "queued-resources", "create")


def test_a_preempted_slice_is_made_anew_and_the_command_goes_on(cloud):
    assert len(run(cloud, 75, 137, 0)) == 3
    assert len(of(cloud, "queued-resources", "create")) == 2
    assert len(of(cloud, "queued-resources", "delete")) == 1


@pytest.mark.parametrize("status", [1, 2])
def test_an_error_is_the_end(cloud, status):
    assert len(run(cloud, status, status=status)) == 1


def test_what_a_broken_connection_left_at_work_is_ended_first(cloud):
    left = subprocess.Popen(["sleep", "600"])
    threading.Thread(target=left.wait, daemon=True).start()  # so that it is gone once it has ended
    (cloud.folder / "slick.pid").write_text(f"{left.pid}\n")
    assert len(run(cloud, 0)) == 1
    assert left.wait(timeout=60) == -15
    assert (cloud.folder / "slick.pid").read_text() != f"{left.pid}\n"


def test_a_request_that_failed_is_left_to_its_owner(cloud):
    (cloud.folder / "request").write_text("FAILED\n")
    _, told = cloud.run("launch/tpu_pod.sh", *WORDS, status=1, **SLICE)
    assert "its request FAILED" in told
    assert not of(cloud, "queued-resources", "delete")


def test_a_dry_run_calls_nothing(cloud):
    printed, _ = cloud.run("launch/tpu_pod.sh", *WORDS, DRY_RUN="1", FILES="my_rows.jsonl", **SLICE)
    kinds = [" ".join(shlex.split(line)[:5]) for line in printed.splitlines()]
    assert kinds[1:] == [
        "gcloud compute tpus queued-resources create", "gcloud compute tpus tpu-vm scp",
        "gcloud compute tpus tpu-vm ssh", "gcloud compute tpus tpu-vm ssh",
    ]  # fmt: skip
    assert shlex.split(printed.splitlines()[0])[-1] == "my_rows.jsonl"
    assert not cloud.calls


def test_what_it_needs_is_told(host):
    _, told = host.run("launch/tpu_pod.sh", *WORDS, status=1, NAME="pod")
    assert "TYPE: accelerator type" in told
