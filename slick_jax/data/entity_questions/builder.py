"""EntityQuestions as a TFDS data set: `tfds.builder("entity_questions", path=...)` once this module is imported.

    builder = EntityQuestions(data_dir="data")  # downloads; with path="dataset.zip" or a folder it does not
    builder.download_and_prepare()
    source = builder.as_data_source("train")  # what Grain takes; texts come as bytes
"""

from __future__ import annotations

from collections.abc import Iterator

import requests
import tensorflow_datasets as tfds

from slick_jax.data.entity_questions.preparation import prepare
from slick_jax.data.entity_questions.sources import URL
from slick_jax.data.tfds_rows import ExampleBuilder, records
from slick_jax.errors import InputError

_DESCRIPTION = """\
Closed-book questions from Wikidata triples, cut as in 'Does Fine-Tuning LLMs on New Knowledge Encourage
Hallucinations?' (arXiv 2405.05904): train, dev and test of 12 relations, ood_dev and ood_test of 7 others."""

_CITATION = """\
@inproceedings{sciavolino2021simple,
  title = {Simple Entity-Centric Questions Challenge Dense Retrievers},
  author = {Sciavolino, Christopher and Zhong, Zexuan and Lee, Jinhyuk and Chen, Danqi},
  booktitle = {EMNLP},
  year = {2021},
}"""


class EntityQuestions(ExampleBuilder):
    """The paper's cut of EntityQuestions (see `preparation.prepare`); `no_shared_objects` is the stricter one.

    `path`: what `sources.read_source` reads; None downloads dataset.zip from the authors.
    """

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="paper", description="Train rows whose subject is in test are dropped."),
        tfds.core.BuilderConfig(name="no_shared_objects", description="And those whose answer is an answer in test."),
    ]

    def __init__(self, *, path: str | None = None, **settings):
        self._path = path
        super().__init__(**settings)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.example_info(
            description=_DESCRIPTION,
            homepage="https://github.com/princeton-nlp/EntityQuestions",
            citation=_CITATION,
            license="MIT; the facts are from Wikidata, CC0",
        )

    def _split_generators(self, manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        splits = prepare(
            self._path or _download(manager), drop_shared_objects=self.builder_config.name == "no_shared_objects"
        )
        return {name: records(rows) for name, rows in splits.items() if rows}

    def _generate_examples(self) -> Iterator:  # the base class asks for it; `_split_generators` hands out the rows
        raise NotImplementedError


def _download(manager: tfds.download.DownloadManager) -> str:
    try:
        return str(manager.download(URL))
    except (OSError, tfds.download.DownloadError, requests.RequestException) as error:
        raise InputError(
            f"{URL}: cannot be downloaded ({error}); fetch dataset.zip by hand and give its place as path="
        ) from error
