"""Examples as TFDS data sets in ArrayRecord files, written and read without TensorFlow.

EntityQuestions (entity_questions/builder.py) and users' own rows have the same form: one record per example, in the
order of the source, which Grain can index at random.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence

import tensorflow_datasets as tfds
from etils import epath

from slick_jax.data.examples import SPLITS, Example, example_of
from slick_jax.errors import InputError

TEXT_FIELDS = ("id", "question", "relation", "subject")


def features() -> tfds.features.FeaturesDict:
    """A record: texts id, question, relation and subject (empty: none), and the list of texts answers."""
    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {name: text() for name in TEXT_FIELDS} | {"answers": tfds.features.Sequence(text())}
    )


def records(examples: Iterable[Example]) -> Iterator[tuple[str, dict]]:
    """What a TFDS builder generates: (key, record) per example."""
    for example in examples:
        texts = {name: getattr(example, name) or "" for name in TEXT_FIELDS}
        yield example.id, texts | {"answers": list(example.answers)}


def example_of_record(record: dict, split: str) -> Example:
    """The example of a record as TFDS returns it, texts being bytes. Raises ValueError where it is none."""
    row = {name: record[name].decode() or None for name in TEXT_FIELDS}
    found = example_of(row | {"answers": [answer.decode() for answer in record["answers"]]}, "", split)
    if isinstance(found, str) or not found.id:
        raise ValueError(f"record {row['id']!r}: {found if isinstance(found, str) else 'has no id'}")
    return found


class ExampleBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder whose records are examples, in ArrayRecord files and in the order in which they are generated."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, file_format: str = "array_record", **settings):
        super().__init__(file_format=file_format, **settings)

    def example_info(self, **about: str) -> tfds.core.DatasetInfo:
        """The DatasetInfo of examples; TFDS's own way to make one from metadata files needs TensorFlow."""
        return tfds.core.DatasetInfo(builder=self, features=features(), disable_shuffling=True, **about)


class SlickRows(ExampleBuilder):
    """The splits of a user's own rows."""

    def __init__(self, *, splits: dict[str, Sequence[Example]] | None = None, **settings):
        self._splits = splits or {}
        super().__init__(**settings)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.example_info(description="Questions and answers, written by slick_jax.")

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {name: records(rows) for name, rows in self._splits.items() if rows}

    def _generate_examples(self) -> Iterator:  # the base class asks for it; `_split_generators` hands out the rows
        raise NotImplementedError


def write_tfds(splits: dict[str, Sequence[Example]], folder: epath.PathLike) -> epath.Path:
    """Write the splits (an empty one is left out) as the TFDS data set `slick_rows` below `folder`.

    An earlier one there is replaced. Returns the data set's folder, which `read_tfds` and TFDS read. Raises InputError
    where there are no rows, or where the folder cannot be written.
    """
    if not any(splits.values()):
        raise InputError("no rows to write as a TFDS data set; check config.data")
    tfds.disable_progress_bar()
    again = tfds.download.DownloadConfig(download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS)
    try:
        builder = SlickRows(splits=splits, data_dir=folder)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS tells of a download, and there is none
            builder.download_and_prepare(download_config=again)
    except (OSError, RuntimeError) as error:  # ArrayRecord tells of a full disk by RuntimeError
        raise InputError(f"{folder}: cannot be written ({error}); free space or choose another run_dir") from error
    return epath.Path(builder.data_dir)


class ExampleSource(Sequence):
    """One split of a data set of this form, at random access: `grain.MapDataset.source(ExampleSource(folder, split))`.

    Raises InputError when the folder holds no such data set or split, and when a record cannot be read.
    """

    def __init__(self, folder: epath.PathLike, split: str):
        self.folder, self.split = folder, split
        info = _builder(folder).info
        if split not in info.splits:
            raise InputError(f"{folder}: no split {split!r}; this data set has {', '.join(info.splits)}")
        self._records = _guarded(folder, lambda: _builder(folder).as_data_source(split))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):  # a Sequence is iterated up to its IndexError
            raise IndexError(index)
        return _guarded(self.folder, lambda: example_of_record(self._records[index % len(self)], self.split))


def read_tfds(folder: epath.PathLike) -> dict[str, list[Example]]:
    """All splits of a data set of this form, in the order of `SPLITS`. Raises InputError as `ExampleSource` does."""
    found = _builder(folder).info.splits
    return {name: list(ExampleSource(folder, name)) for name in SPLITS if name in found}


def _builder(folder: epath.PathLike) -> tfds.core.DatasetBuilder:
    builder = _guarded(folder, lambda: tfds.builder_from_directory(folder))
    absent = {*TEXT_FIELDS, "answers"} - set(builder.info.features)
    if absent:
        raise InputError(f"{folder}: a TFDS data set of another form, without {', '.join(sorted(absent))}")
    return builder


def _guarded(folder: epath.PathLike, read):
    """`read()`; whatever TFDS or ArrayRecord raises on absent or damaged files becomes an InputError."""
    try:
        return read()
    except Exception as error:
        raise InputError(
            f"{folder}: cannot be read as a TFDS data set ({str(error).splitlines()[0] if str(error) else error!r});"
            " give the folder with dataset_info.json, or write it again"
        ) from error
