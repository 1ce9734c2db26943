"""The examples of launch/README.md, run as they are printed with stand-ins for the programs of clusters."""

import re
import shlex

import pytest
import yaml

from slick_jax.commands import COMMANDS
from slick_jax.errors import Stopped
from slick_jax.settings.config_file import load_config
from tests.conftest import ROOT

TEXT = (ROOT / "launch" / "README.md").read_text()
EXAMPLES = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
SCRIPTS = ("local.sh", "slurm.sbatch", "tpu_pod.sh")


def words_of_slick(printed):
    """The command line of slick in what a dry run printed last, without what the launcher adds."""
    words = shlex.split(printed.strip().splitlines()[-1])
    remote = [word for word in words if word.startswith("--command=")]
    if remote:
        words = shlex.split(remote[0].split(".venv/bin/")[1].split(" &")[0])
    return words[words.index("slick") + 1 :]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_a_command_of_slick_with_settings_that_there_are(host, example):
    host.program("sbatch", 'while [[ $1 == --* ]]; do shift; done; exec bash "$@"')
    host.program("kubectl", f'cat > "{host.folder}/applied"')
    printed, _ = host.run("bash", "-euc", example, DRY_RUN="1")
    if "kubectl" in example:
        applied = yaml.safe_load((host.folder / "applied").read_text())
        pod = applied["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"].startswith("us-docker.pkg.dev/")
        command, *flags = pod["containers"][0]["args"]
    else:
        command, *flags = words_of_slick(printed)
    assert command in COMMANDS
    flags = [flag.replace("--shard=", "--config.study.shard=") for flag in flags if "distributed" not in flag]
    load_config(flags)


def test_there_is_an_example_of_every_file():
    assert all(any(f"launch/{name}" in example for example in EXAMPLES) for name in (*SCRIPTS, "jobset.yaml"))


def test_the_statuses_of_the_table_are_those_of_slick():
    assert re.search(rf"^\| {Stopped.STATUS} \|", TEXT, re.MULTILINE)


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"XLA_FLAGS=(--xla\S+?)`", TEXT))))
def test_jaxlib_knows_the_flags_of_the_table(host, flag):
    import os
    import sys

    known = {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu", "PATH": os.environ["PATH"]}
    host.run(sys.executable, "-c", "import jax; jax.devices()", **known)
