"""Configs: files, overrides, types, rules, and that every mistake of a command line is reported at once."""

import dataclasses
import typing

import pytest

from slick_jax.config import Config, defaults
from slick_jax.errors import InputError
from slick_jax.settings.config_file import load_config
from slick_jax.settings.rules import problems

FILE = "from slick_jax.config import defaults\n\ndef get_config():\n    c = defaults()\n{}\n    return c\n"


@pytest.fixture
def config_file(tmp_path):
    """Writes a config file with the given body and returns its path."""

    def write(*lines: str) -> str:
        path = tmp_path / "x.py"
        path.write_text(FILE.format("".join(f"    {line}\n" for line in lines)))
        return str(path)

    return write


def errors_of(argv: list[str], command: str = "") -> str:
    with pytest.raises(InputError) as caught:
        load_config(argv, command)
    return str(caught.value)


def test_defaults_are_valid_and_make_the_default_config(config_file):
    assert problems(Config()) == []
    assert load_config([f"--config={config_file()}"]) == Config()
    assert defaults().to_dict() == dataclasses.asdict(Config())


def test_every_shipped_config_loads(root):
    files = sorted((root / "configs").glob("*.py"))
    assert {file.stem for file in files} >= {"base", "demo", "entity_questions", "annotate_jsonl"}
    for file in files:
        load_config([f"--config={file}"])
        assert f"--config=configs/{file.name}" in file.read_text().split('"""')[1], "a config opens with its command"


def test_config_is_locked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().run_dir = "elsewhere"


@pytest.mark.parametrize(
    ("text", "setting", "value"),
    [
        ("data.limit=200", "data.limit", 200),
        ("data.limit=None", "data.limit", None),
        ("data.splits=train,dev", "data.splits", ("train", "dev")),
        ("data.splits=('train',)", "data.splits", ("train",)),
        ("data.splits=", "data.splits", ()),
        ("data.path=a=b.jsonl", "data.path", "a=b.jsonl"),
        ("model.scan_layers=false", "model.scan_layers", False),
        ("annotate.temperature=1", "annotate.temperature", 1.0),
        ("annotate.exact_pairs=((0.7, 40), [1, 20])", "annotate.exact_pairs", ((0.7, 40), (1.0, 20))),
        ("annotate.abstain_phrases=['No, sorry', 'Unknown']", "annotate.abstain_phrases", ("No, sorry", "Unknown")),
        ("mix.percents=50", "mix.percents", (50,)),
        ("study.seeds=(0, 1)", "study.seeds", (0, 1)),
        ("pretrain.peak_lr=1e-3", "pretrain.peak_lr", 1e-3),
    ],
)
def test_overrides(config_file, text, setting, value):
    found = load_config([f"--config={config_file()}", f"--config.{text}"])
    for name in setting.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_override_wins_over_file_and_the_last_override_wins(config_file):
    path = config_file("c.annotate.seed = 1", "c.annotate.top_k = 5")
    config = load_config([f"--config={path}", "--config.annotate.seed=2", "--config.annotate.seed=3"])
    assert (config.annotate.seed, config.annotate.top_k) == (3, 5)


def test_all_mistakes_come_in_one_error(config_file):
    path = config_file(
        "c.annotate.n_sampels = 4",
        "c.annotate.top_k = 'many'",
        "c.annotate.temperature = 0",
        "c.data.limit = True",
        "c.mesh = 8",
    )
    text = errors_of([f"--config={path}", "--config.data.spilts=train", "--config.model.dtype=int8", "--limit=3"])
    for expected in (
        f"config.annotate.n_sampels: no such setting; did you mean n_samples? (set in {path})",
        f"config.annotate.top_k: 'many' is str, not a whole number (set in {path})",
        "config.annotate.temperature: 0.0 must be a number above 0",
        "config.data.limit: True is bool, not a whole number or None",
        "config.mesh: is a group of settings, found 8",
        "config.data.spilts: no such setting; did you mean splits? (set on the command line)",
        "config.model.dtype: 'int8' is unknown; allowed: float32, bfloat16",
        "--limit=3: not understood",
        "8 problems",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data=3", "config.data: is a group; set one of kind, path"),
        ("annotate.match.x=3", "config.annotate.match is a value, not a group"),
        ("data.limit=many", "'many' is not a whole number or None"),
        ("model.scan_layers=maybe", "'maybe' is not True or False"),
        ("annotate.exact_pairs=(0.7, 40)", "is not pairs such as"),
        ("annotate.exact_pairs=((0.7,", "is not pairs such as"),
        ("annotate.temperature=nan", "config.annotate.temperature: 'nan' is not a number"),
        ("annotate.top_k=0", "config.annotate.top_k: 0 is too small; give 1 or more"),
        ("annotate.n_samples=0", "config.annotate.n_samples: 0 is too small"),
        ("annotate.mode=fast", "allowed: full, labels, exact"),
        ("annotate.match=loose", "squad, strict, or your own as module:function"),
        ("annotate.batch_tokens=-1", "annotate.batch_tokens: -1 is too small"),
        ("annotate.kept_gib=nan", "annotate.kept_gib: 'nan' is not a number or None"),
        ("mix.gradual_replay=inf", "mix.gradual_replay: 'inf' is not a number"),
        ("train.weight_decay=inf", "train.weight_decay: 'inf' is not a number"),
        ("annotate.exact_tolerance=2", "is not a probability"),
        ("annotate.exact_pairs=((0.0, 40),)", "needs a temperature above 0"),
        ("annotate.exact_pairs=((1e999, 40),)", "is not pairs such as"),
        ("annotate.abstain_phrases=['']", "holds an empty phrase"),
        ("data.kind=csv", "allowed: rows, tfds, entity_questions, world"),
        ("data.splits=ood_test", "no split 'ood_test' in data of kind 'rows'; it has train, dev, test"),
        ("data.limit=0", "config.data.limit: 0 is too small"),
        ("data.share=0", "config.data.share: 0.0 is no share of the rows"),
        ("data.corpus.median_exposures=0", "must be a number above 0"),
        ("data.drop_shared_objects=true", "only data.kind='entity_questions' has this option"),
        ("model.weights=int4", "config.model.weights: 'int4' is unknown; allowed: , bfloat16, int8"),
        ("model.shape.head_dim=31", "31 is odd"),
        ("model.shape.n_kv_heads=3", "does not divide n_heads=4"),
        ("distributed.process_count=2", "they go together, and coordinator, process_index is not set"),
        ("distributed.cluster=slurm", "allowed: auto, none"),
        ("annotate.exemplars=per_row", "allowed: per_relation, per_question"),
        ("mesh.fsdp=0", "config.mesh.fsdp: 0 is not a number of devices"),
        ("mesh.fsdp=-1", "more than one -1"),
        ("pretrain.b2=1", "config.pretrain.b2: 1.0 is outside"),
        ("train.eval_test_epochs=1-12;last", "config.train.eval_test_epochs: '1-12;last' is not understood"),
        ("train.accumulate=3", "3 does not divide train.batch_size=128"),
        ("train.dropout=1", "config.train.dropout: 1.0 is no share"),
        ("train.optimizer=sgd", "allowed: adamw, adafactor"),
        ("train.keep=best,newest", "config.train.keep: 'newest' is unknown; allowed: best, last"),
        ("annotate.prompt_style=plain", "'plain' is unknown; allowed: qa, chat"),
        ("annotate.chat_options=enable_thinking", "'enable_thinking' is no name=value"),
        ("annotate.chat_options=enable_thinking=false", "only annotate.prompt_style='chat' reads them"),
        ("model.source=org/name", "config.model.source: filled in by the program"),
        ("mix.size=big", "allowed: paper, known_unknown, or a whole number"),
        ("mix.percents=0,101", "config.mix.percents: 101 is out of range"),
        ("mix.percents=half", "is not whole numbers such as 0,50,100"),
        ("mix.recipes=sure_50,best_50", "config.mix.recipes: no recipe 'best_50'; there are unknown_<0-100>"),
        ("mix.recipes=patch_95", "config.mix.patch_percent: 10, and patch_95 has 5 % Known"),
        ("mix.recipes=replay_50", "config.mix.replay_path: empty"),
        ("mix.unsure_text=I am sure.", "give phrases that can be told apart"),
        ("mix.upweight_percent=0", "config.mix.upweight_percent: 0.0 is no share of D"),
        ("evaluate.splits=valid", "config.evaluate.splits: 'valid' is unknown"),
        ("evaluate.splits=ood_dev", "evaluate.splits: 'ood_dev' is unknown; allowed: train, dev, test"),  # kind rows
        ("study.seeds=1,1", "must name one seed or more, each once"),
        ("study.processes=0", "config.study.processes: 0 is too small"),
        ("study.shift_stops=LAST", "config.study.shift_stops: 'LAST' is unknown; allowed: EARLY_STOP, CONVERGENCE"),
        ("study.shift_splits=ood_test", "study.shift_splits: 'ood_test' is unknown; allowed: train, dev, test"),
        ("study.seeds=0,4294967296", "config.study.seeds: 4294967296 is no seed"),
        ("train.seed=-1", "config.train.seed: -1 is no seed"),
        ("train.keep=()", "config.train.keep: empty, and so is train.keep_every"),
        ("annotate.n_exemplar_sets=125", "n_exemplar_sets: 125 and n_reserve_sets=4 make more than 128 sets"),
        ("data.world.relations=13", "13 is out of range; give 1 to 12"),
    ],
)
def test_bad_values(config_file, text, complaint):
    assert complaint in errors_of([f"--config={config_file()}", f"--config.{text}"])


def test_settings_that_would_have_no_effect(config_file):
    path = config_file()
    pairs = [f"--config={path}", "--config.annotate.mode=labels", "--config.annotate.exact_pairs=((1.0, 40),)"]
    assert "mode 'labels' computes no exact P_Correct" in errors_of(pairs)
    shifted = ["--config.study.shift=all", "--config.train.keep=best"]
    assert "study.shift needs 'last', the checkpoint of CONVERGENCE" in errors_of([f"--config={path}", *shifted])
    shifted = ["--config.study.shift=all", "--config.study.shift_stops=()"]
    assert "study.shift_stops: empty" in errors_of([f"--config={path}", *shifted])
    adafactor = ["--config.train.optimizer=adafactor", "--config.train.b2=0.9"]
    assert "train.b2, train.eps: are of adamw" in errors_of([f"--config={path}", *adafactor])
    assert "`slick study` takes study.variants" in errors_of([f"--config={path}", "--config.train.seed=3"], "study")


@pytest.mark.parametrize("command", ["demo", "pretrain", "train", "study", "evaluate"])
def test_rounded_weights_are_for_annotation_alone(config_file, command):
    pairs = [f"--config={config_file()}", "--config.model.weights=int8"]
    assert f"model.weights: 'int8' is for `slick annotate` alone; give `slick {command}`" in errors_of(pairs, command)


def test_what_a_command_needs(config_file):
    path = config_file()
    remote = errors_of([f"--config={path}", "--config.run_dir=ftp://bucket/run"], "data")
    assert "config.run_dir: 'ftp://bucket/run' is on no store that is known" in remote
    text = errors_of([f"--config={path}"], "annotate")
    for setting in ("run_dir", "model.path", "data.path"):
        assert f"config.{setting}: empty" in text
    assert "export" not in text
    missing = errors_of([f"--config={path}", "--config.data.path=absent.jsonl"], "validate")
    assert "config.data.path: 'absent.jsonl' does not exist" in missing
    assert load_config([f"--config={path}", "--config.data.kind=world"], "validate").data.kind == "world"


@pytest.mark.parametrize(
    "words",
    [
        ("mix",), ("study",), ("demo", "model.path=", "train.variant="), ("train", "train.variant=idk_50"),
        ("mix", "mix.idk=False", "mix.recipes=idk_25"),
    ],
)
def test_a_refusal_that_is_taught_must_count_as_one(config_file, words):
    command, *settings = words
    path = config_file("c.run_dir, c.model.path, c.data.kind = 'r', 'm', 'world'", "c.train.variant = 'unknown_50'")
    given = [f"--config={path}", "--config.mix.idk_text=No idea.", *(f"--config.{text}" for text in settings)]
    given += ["--config.train.variant="] * (command == "study")
    told = errors_of(given, command)
    assert "config.mix.idk_text: 'No idea.' is none of annotate.abstain_phrases=(\"I don't know\",)" in told
    assert load_config([*given, "--config.annotate.abstain_phrases=['Unknown', 'no idea']"], command)


def test_a_refusal_that_is_not_taught_may_be_any(config_file):
    path = config_file("c.run_dir, c.model.path, c.data.kind = 'r', 'm', 'world'", "c.mix.idk_text = 'No idea.'")
    assert load_config([f"--config={path}"], "annotate")
    assert load_config([f"--config={path}", "--config.mix.idk=False"], "mix")
    assert load_config([f"--config={path}", "--config.train.variant=unknown_50"], "train")


@pytest.mark.parametrize("setting", ["run_dir", "model.path", "data.path", "train.mixture"])
def test_a_home_that_no_shell_has_expanded(config_file, setting):
    told = errors_of([f"--config={config_file()}", f"--config.{setting}=~/first"])
    assert f"config.{setting}: '~/first' would be a folder named '~'" in told
    assert load_config([f"--config={config_file()}", f"--config.{setting}=runs/a~b/~x"])


def test_the_flag_of_a_shard_is_a_setting_of_study_alone(config_file):
    path = config_file("c.run_dir, c.model.path, c.data.kind = 'r', 'm', 'world'")
    for words in (["--shard=3/8"], ["--config.study.shard=3/8"]):
        assert load_config([f"--config={path}", *words], "study").study.shard == "3/8"
    with pytest.raises(InputError, match="--shard=3/8: not understood"):
        load_config([f"--config={path}", "--shard=3/8"], "annotate")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("8/8", "'8/8', but shares count from 0: the last of 8 is 7/8; an array of 8 tasks is --array=0-7"),
        ("0/0", "'0/0' shares the runs among no one"),
        ("/8", "'/8' is no i/n, such as 0/8"),  # as where $SLURM_ARRAY_TASK_ID is not set
        ("-1/8", "'-1/8' is no i/n"),
    ],
)
def test_shards_that_there_are_not(config_file, text, complaint):
    with pytest.raises(InputError, match=f"config.study.shard: {complaint}"):
        load_config([f"--config={config_file('c.data.kind = 1')}", f"--shard={text}"], "study")


def test_missing_config_argument():
    assert "--config is missing" in errors_of(["--config.data.limit=3"])
    assert "--config=absent.py: no such file" in errors_of(["--config=absent.py"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("def get_config(:\n", "x.py:1: the config file failed with SyntaxError"),
        ("def get_config():\n    return 1 / 0\n", "x.py:2: the config file failed with ZeroDivisionError"),
        ("def get_config():\n    return {}\n", "needs get_config() returning a ConfigDict"),
        ("x = 1\n", "needs get_config() returning a ConfigDict"),
        (FILE.format("    c.anotate.seed = 1\n"), "x.py:5: the config file failed with AttributeError"),
    ],
)
def test_broken_config_files(tmp_path, content, complaint):
    path = tmp_path / "x.py"
    path.write_text(content)
    assert complaint in errors_of([f"--config={path}"])


def test_every_field_has_its_own_line_of_documentation(root):
    files = [root / "slick_jax" / "config.py", *(root / "slick_jax" / "settings").glob("*.py")]
    source = [line for file in files for line in file.read_text().splitlines()]

    def check(cls):
        for name, kind in typing.get_type_hints(cls).items():
            if dataclasses.is_dataclass(kind):
                check(kind)
            else:
                lines = [line for line in source if line.startswith(f"    {name}:")]
                assert lines and all("  # " in line or "default_factory" in line for line in lines), name

    check(Config)
