"""The stage `repository_shards`: the files of each repository joined to one document.

What the other files of this folder do: `join_shard` is this stage's work. `group` says which files
are one repository, `order` how they follow one another, `divide` where a large one is cut in
several documents, `join` and `comments` what is written around their texts, and `members` how a
document's line holds the lines of its files, by which `restore` gives these back. `record` is the
format of its parquet, and `written` reads shard and parquet together; `checks`, `statistics` and
`facts` judge, count and show. What files import is `fim_assets/imports/`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from fim_assets.corpus.partition_files import Outputs
from fim_assets.corpus.stage import (
    About,
    Check,
    Facts,
    Stage,
    Statistics,
    Totals,
    Work,
    functions,
)
from fim_assets.recipe import Recipe

if TYPE_CHECKING:
    from fim_assets.corpus.receipts import Receipt
    from fim_assets.tokenizer.load import LoadedTokenizer

_DESCRIPTION = """
Whole repositories as documents: the files of each one joined in order, with what the layout writes
around them.

| file | holds |
| :-- | :-- |
| `<key>.jsonl.zst` | one document a line; as `members` its files, without texts |
| `<key>.parquet` | one row a file: where it came from, where it stands and why |
| `<key>.json` | the receipt, written last |

- **Lossless**: from these two files every line comes back (`fim-assets restore`).
- **Nothing vanishes**: every file is in exactly one document. One without a repository is a
  document of its own.
- **Reproducible**: but for `order: given`, the order of a repository's files does not depend on
  that of their lines.
"""


class RepositoryShards(Stage):
    """See the module."""

    name = "repository_shards"
    version = 1
    shard = ".jsonl.zst"
    read_by = "fim-assets restore"
    preview = "files"

    @override
    def is_in(self, recipe: Recipe) -> bool:
        return recipe.repositories is not None

    @property
    @override
    def about(self) -> About:
        from fim_assets.repository_shards.join_shard import join_shard
        from fim_assets.repository_shards.record import COLUMNS, SCHEMA

        kinds = frozenset({"python", "json", "parquet"})
        work = functions(join_shard, *(check.run for check in self.checks))
        return About(_DESCRIPTION, kinds, work, SCHEMA, COLUMNS, "repositories")

    @property
    @override
    def checks(self) -> tuple[Check, ...]:
        from fim_assets.repository_shards.checks import CHECKS

        return CHECKS

    @property
    @override
    def outputs(self) -> Outputs:
        return Outputs((".jsonl.zst", ".parquet"))

    @override
    def identity(self, recipe: Recipe, tokenizer_hash: str) -> dict[str, Any]:
        section, raw = recipe.repositories, recipe.raw
        if section is None:
            return {}
        of_section = section.model_dump(exclude={"name_field", "max_repository_bytes"})
        identity: dict[str, Any] = {"seed": recipe.seed}
        identity["repositories"] = of_section | {
            "name_field": recipe.repository_field,
            "names": section.names_rate,
            "separator": recipe.fim.file_separator_token,
            "repository_token": recipe.repository_token,
            "path_field": raw.path_field,
        }
        by_name = section.by_language and raw.schema_name is not None
        if by_name or section.joined.paths == "comment":
            from fim_assets.languages.names import names_identity

            identity["language_names"] = names_identity()
        if section.order == "dependencies":
            from fim_assets.imports.graph import imports_identity

            identity["repositories"]["most_parsed"] = recipe.fim.syntax_max_bytes
            identity |= imports_identity()
        if section.max_tokens is not None:
            identity["tokenizer"] = tokenizer_hash
            settings = recipe.tokens.tokenizer
            identity["repositories"]["head"] = settings.head
            identity["repositories"]["paragraphs"] = settings.segment_before_tokenization
        return identity

    @override
    def tags(self, recipe: Recipe) -> dict[str, str]:
        section = recipe.repositories
        return {} if section is None else {"layout": section.layout, "order": section.order}

    @override
    def prepare(self, recipe: Recipe, tokenizer_hash: str) -> str | None:
        tokenizer = load_for_repositories(recipe, tokenizer_hash)
        return None if tokenizer is None else tokenizer.encoder_description

    @override
    def make(self, work: Work) -> Totals:
        from fim_assets.repository_shards.join_shard import join_shard

        tokenizer = load_for_repositories(work.recipe, work.tokenizer_hash)
        return join_shard(work.source.paths, work.seed, work.recipe, work.staging, tokenizer)

    @override
    def statistics(self, parquet: Path) -> Statistics:
        from fim_assets.repository_shards.statistics import repository_statistics

        return repository_statistics(parquet)

    @override
    def facts(self, recipe: Recipe, receipt: "Receipt") -> Facts:
        from fim_assets.repository_shards.facts import repository_facts

        return repository_facts(recipe, receipt)


def load_for_repositories(
    recipe: Recipe, tokenizer_hash: str | None = None
) -> "LoadedTokenizer | None":
    """The recipe's tokenizer, where it bounds documents."""
    from fim_assets.tokenizer.load import load_tokenizer

    if recipe.repositories is None or recipe.repositories.max_tokens is None:
        return None
    return load_tokenizer(recipe, tokenizer_hash)


REPOSITORY_SHARDS = RepositoryShards()
