"""How the tests run a command, and what it is run on."""

import sys
from pathlib import Path

from click.testing import CliRunner, Result

from fim_assets.cli.main import main
from fim_assets.corpus.corpus import list_shards
from fim_assets.corpus.raw_shard import fetch_all
from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.transform import transform_shard
from fim_assets_tests.corpora import documents, open_corpus

PROGRAM = [sys.executable, "-c", "from fim_assets.cli.main import main; main()"]
ROWS = [b"", b"not json", {"text": "ab"}, *documents(60)]
MORE_THAN_A_PIPE_HOLDS = [*ROWS, {"id": "long", "text": "0123456789" * 100_000}]


def make_fim_shard(root: Path, key: str) -> tuple[str, str]:
    """A FIM shard and its parquet."""
    corpus = open_corpus(root)
    shard = fetch_all(list_shards(corpus, root)[key], root)
    place = corpus.files("fim_shards", key)
    with Staging(place) as staging:
        transform_shard(shard, corpus.recipe.partition_seed(key), corpus.recipe, staging)
        staging.publish()
    return str(place.file(".jsonl.zst")), str(place.file(".parquet"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)
