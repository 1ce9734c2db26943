"""slick ls and slick show on a store say what they say of a disk."""

import re

from etils import epath

from slick_jax.main import main
from tests.browsing.planted_runs import write


def test_run_folders_of_a_bucket_are_listed_and_their_examples_shown(bucket, tmp_path, capsys):
    told = []
    for place in (f"{bucket}/runs", str(tmp_path / "runs")):
        write(epath.Path(place) / "first")
        assert main(["ls", place]) == 0 and main(["show", "author.2", f"--run_dir={place}/first"]) == 0
        told.append(capsys.readouterr().out.replace(place, "<runs>"))
    assert "train unknown_50 seed-1" in told[0] and "fitted by epoch 2" in told[0]
    without_times = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", one) for one in told]
    assert without_times[0] == without_times[1]
