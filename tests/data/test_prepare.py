"""What `slick data` writes can be read again, whatever splits there are."""

import dataclasses
import json

from slick_jax.config import Config, WorldConfig
from slick_jax.data import prepare
from slick_jax.data.examples import read_rows


def test_a_split_without_rows_is_left_out(tmp_path, capsys):
    world = WorldConfig(facts_per_relation=20, relations=2, ood_relations=0)
    config = dataclasses.replace(Config(), run_dir=str(tmp_path))
    prepare.run(dataclasses.replace(config, data=dataclasses.replace(config.data, kind="world", world=world)))

    def refused(constant):
        raise AssertionError(f"{constant} is no JSON")

    folder = tmp_path / "data"
    splits = json.loads((folder / "summary.json").read_text(), parse_constant=refused)["splits"]
    assert list(splits) == ["dev", "test", "train"] and "nan" not in capsys.readouterr().out.lower()
    assert sorted(path.stem for path in folder.glob("*.jsonl")) == list(splits)
    for name, counted in splits.items():
        assert len(read_rows(str(folder / f"{name}.jsonl"), name)) == counted["rows"] > 0
