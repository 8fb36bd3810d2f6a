"""Named sets of field names: where the data sets that people download hold a document's parts.

A data set without a column for a part gets the name that such a column would have: a field that no
document holds is none, and one that somebody adds is read.
"""

from typing import NamedTuple


class Schema(NamedTuple):
    """The fields of a document's parts, as paths (see `values.field_names`)."""

    text_field: str
    id_field: str
    language_field: str
    path_field: str


SCHEMAS = {
    # Dolma's documents, https://github.com/allenai/dolma/blob/main/docs/data-format.md: `text` and
    # `id`; what is in `metadata` depends on the source.
    "dolma": Schema("text", "id", "metadata.language", "metadata.path"),
    # https://huggingface.co/datasets/bigcode/starcoderdata has max_stars_repo_path,
    # max_stars_repo_name, max_stars_count, id and content, as the loader of Oumi
    # (oumi/datasets/pretraining/starcoder.py) and cards of its subsets list them. The folder's name
    # is the language, see `LANGUAGE_IS_FOLDER`; those who add it in a column call it `lang`, as The
    # Stack does. Its folders of issues, commits and notebooks have other columns, says its card.
    "starcoderdata": Schema("content", "id", "lang", "max_stars_repo_path"),
    # https://huggingface.co/datasets/bigcode/the-stack and the-stack-dedup, "Data Fields".
    "the-stack": Schema("content", "hexsha", "lang", "max_stars_repo_path"),
    # https://huggingface.co/datasets/bigcode/the-stack-v2 and the-stack-v2-dedup have blobs' ids;
    # the card's download_contents() joins the contents as `content`.
    "the-stack-v2": Schema("content", "blob_id", "language", "path"),
    # https://huggingface.co/datasets/HuggingFaceTB/stack-edu likewise; its card's
    # download_contents() joins them as `text`.
    "stack-edu": Schema("text", "blob_id", "language", "path"),
    # The files in data/ of https://huggingface.co/datasets/codeparrot/github-code have repo_name,
    # path, license, size and content, says github-code.py there, and neither an id nor a language.
    "github-code": Schema("content", "id", "language", "path"),
    # What that script makes of them, and the Hub's conversion to Parquet (refs/convert/parquet), of
    # github-code-clean too: the text as `code`, and the language, which it takes from the path.
    "github-code-loaded": Schema("code", "id", "language", "path"),
}
"""By the names that `raw.schema` takes."""

LANGUAGE_IS_FOLDER = {"starcoderdata"}
"""The schemas of data whose Parquet files lie in folders named by language: that is the language of
a row without one."""

REPOSITORY_FIELDS = {
    "starcoderdata": "max_stars_repo_name",
    "the-stack": "max_stars_repo_name",
    "the-stack-v2": "repo_name",
    "stack-edu": "repo_name",
    "github-code": "repo_name",
    "github-code-loaded": "repo_name",
}
"""Where the data of a schema hold the name of a document's repository, if they have one; sources as
of `SCHEMAS`."""
