"""launch/jobset.yaml: what JobSet, indexed Jobs and GKE's TPUs ask of it."""

import math

import pytest
import yaml


@pytest.fixture(scope="module")
def jobset(root):
    return yaml.safe_load((root / "launch" / "jobset.yaml").read_text())


def test_it_is_a_job_of_as_many_hosts_as_its_slice_has(jobset):
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    chips = math.prod(map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")))
    assert spec["parallelism"] * container["resources"]["limits"]["google.com/tpu"] == chips * job["replicas"]
    assert spec["parallelism"] == spec["completions"]
    assert spec["completionMode"] == "Indexed"  # GKE numbers the workers of a slice by it
    assert container["command"] == ["slick"]


def test_it_restarts_after_any_end_but_bad_input(jobset):
    policy = jobset["spec"]["failurePolicy"]
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # a pod failure policy needs it; and all processes start together
    assert job["backoffLimit"] == 0  # so that the end of one pod is the job's, which restarts them all
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": pod["containers"][0]["name"], "operator": "In", "values": [2]}
    (of_job,) = policy["rules"]
    assert (of_job["action"], of_job["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert policy["maxRestarts"] >= 1
    assert pod["terminationGracePeriodSeconds"] >= 60
