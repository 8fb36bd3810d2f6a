"""What recipes make of a small corpus, compared with what they made before.

`stored_outputs.json` has, for every recipe of `RECIPES`, the fingerprints, the hash of each file
and of each receipt's `result`, and the names that Dagster is told; and what else others call: the
names of the package, the commands with their options, and exit statuses. Code may be moved and
renamed at will, and nothing of it may change. Therefore nothing is imported here but what is
documented for others: `fim_assets`, `fim_assets.definitions`, and the command `fim-assets`.

`python -m fim_assets_tests.test_stored_outputs` writes the file anew. That is right where a change
is meant: a stage's number was raised, with its fingerprints and so its bytes; a name was added; a
pinned library, which `versions` names, was replaced, and its changelog says why it packs otherwise.
A recipe that is added changes no line of the others. It is wrong where code was only moved, and
where bytes have changed and the fingerprint has not: files of another content would then count as
complete.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from importlib.metadata import entry_points, version
from inspect import signature
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import dagster as dg
import numpy as np
import pytest
import zstandard
from click.testing import CliRunner
from tokenizers.pre_tokenizers import ByteLevel

import fim_assets
from fim_assets.corpus.corpus import Corpus
from fim_assets.definitions import build_definitions, defs
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.preview.notebook import transform_text
from fim_assets.recipe import Recipe, load_recipe
from fim_assets.stages import stages_of
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.tokenizer.load import load_tokenizer

STORED = Path(__file__).with_name("stored_outputs.json")

LIBRARIES = ("numpy", "polars", "pyarrow", "tokenizers", "tree-sitter", "zstandard")
"""Libraries whose versions may decide the bytes, as told when these differ."""

Content = dict[str, Any]

# The corpus.

PYTHON = """import os


class Stack:
    def __init__(self, items=()):
        self.items = list(items)

    def push(self, item):
        if item is None:
            raise ValueError(f"nothing to push on {self.items!r}")
        self.items.append(item)
        return len(self.items) + %d


def walk(folder):
    for root, _, names in os.walk(folder):
        yield from (os.path.join(root, name) for name in names if name.endswith(".py"))
"""
JAVASCRIPT = """export function debounce(call, wait = %d) {
  let timer = null;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call.apply(this, values), wait);
  };
}
const total = [1, 2, 3].map((n) => n * 2).reduce((a, b) => a + b, 0);
"""
C = """#include <stdio.h>

static int clamp(int value, int low, int high) {
    if (value < low) return low;
    return value > high ? high : value;
}

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) printf("%%s %%d\\n", argv[i], clamp(i, 0, %d));
    return 0;
}
"""
MARKDOWN = """# Title %d

Some *words* and a [link](https://example.org).

- one
- two

```python
print("code in a text")
```
"""
BASH = """#!/usr/bin/env bash
set -euo pipefail
for file in "$@"; do
  if [[ -f "$file" ]]; then
    wc -l "$file" | awk '{ print $1 + %d }'
  fi
done
"""
RUST = """pub fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        let rest = a %% b;
        a = b;
        b = rest;
    }
    a + %d
}

#[derive(Debug)]
struct Point { x: i32, y: i32 }
"""

SOURCES = (
    (PYTHON, "Python", "stack.py"),
    (JAVASCRIPT, "JavaScript", None),
    (C, "C", "clamp.c"),
    (MARKDOWN, "Markdown", "README.md"),
    (BASH, None, "count.sh"),
    (RUST, "Rust", None),
    (PYTHON, None, None),
    (C, "Klingon", "clamp.unknown"),
)
"""Texts with a number in them, languages, and paths, one of which alone tells its language."""

AWKWARD = (
    "ab",
    "x",
    " \n\t \n",
    "def add(a, b):\r\n    return a + b\r\n\r\n\r\nprint(add(1, 2))\r\n",
    "# 日本語のコメント 🚀🔥 e\u0301 n\u0303 \u212b\ndef größe(x):\n    return '𝒳' * x\n",
    "# Zalgo: z\u0351\u036b\u0343a\u0328\u0300l\u0334g\u0335o\u0336\nvalue = 'ﬁ½…'\n",
    "print('<|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|endoftext|> are plain text')\n",
    "s = '<fim_prefix><fim_suffix><fim_middle><eos>'  # and [PREFIX] ▁<PRE> <｜fim▁hole｜>\n",
    "def broken(:\n    return ((((\n  else:\n}}}}\nclass\n",
    "one line without an end",
    "\n\n\n\nafter line feeds\n\n\n\n",
    'quotes " and \\ back\\slashes \x00 \x7f \u2028 \u2029\nlast\x0bline\x0c\n',
    "y" * 700 + "\n",
    "a b c d " * 60,
)

FILES = (
    f"{PYTHON % 7}<|file_sep|>{PYTHON % 8}<|file_sep|>ab",
    f"<|file_sep|>{C % 9}<|file_sep|><|file_sep|>x = 1\n",
    f"<repo_name>me/tools<file_sep>a.py\n{PYTHON % 10}<file_sep>b.sh\n{BASH % 11}",
    f"<repo_name>me/tools<file_sep>{RUST % 12}<file_sep><file_sep>{JAVASCRIPT % 13}",
)
"""Documents of several files, and of repositories."""

REFUSED = (
    b"",
    b'{"text": "never ends',
    b"[1, 2]",
    b'{"id": "none"}',
    b'{"id": "number", "text": 5}',
    b'{"id": "empty", "text": ""}',
    b'{"text": "\xff"}',
    b"   ",
    b'{"id": [1], "text": "id of a kind that is none"}',
    b'\xef\xbb\xbf{"text": "behind a byte order mark"}',
    b'{"text": "deep", "more": %b}' % (b"[" * 200 + b"]" * 200),
)
"""Lines that are blank, or no document."""


def documents() -> Iterator[Content]:
    """All documents: ids are texts, numbers or missing, and some documents stand there twice."""
    sources = [
        (source % number, language, path)
        for number, (source, language, path) in product(range(4), SOURCES)
    ]
    others = [(text, "Python", None) for text in (*AWKWARD, *FILES)]
    for number, (text, language, path) in enumerate(
        [*sources, *others, *sources[:3], *others[-2:]]
    ):
        about = {"language": language, "path": path}
        document: Content = {"id": f"document {number}", "text": text, "metadata": about}
        if number % 7 == 3:
            del document["id"]
        elif number % 7 == 5:
            document["id"] = number
        if language is None and path is None:
            del document["metadata"]
        yield document


def many_documents() -> Iterator[Content]:
    """Two megabytes: they are read in several blocks, and each level packs them otherwise."""
    for number in range(3000):
        names = [digest(b"%d %d" % (number, place)) for place in range(30)]
        calls = "".join(f"    {a}({b}, {number})\n" for a, b in pairwise(names))
        yield {"id": f"{number}", "text": f"def {names[0]}(x):\n{calls[: 80 * (number % 15)]}"}


def line(content: Content) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


@cache
def _many_lines() -> bytes:
    return b"\n".join(map(line, many_documents())) + b"\n"


def write_corpus(root: Path) -> None:
    """Three shards that most recipes read, and below the root what others name."""
    lines = [line(document) for document in documents()]
    shards = {"first.jsonl": [*lines[0::3], *REFUSED], "second.jsonl.zst": lines[1::3]}
    shards["folder/third.json"] = [REFUSED[0], *lines[2::3], REFUSED[1]]
    for name, content in shards.items():
        data = b"\n".join(content) + b"\n"
        path = root / "raw" / name
        if path.suffix == ".zst":
            data = zstandard.compress(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    other = [
        {"a.b": d["text"], "doc": {"key": d.get("id")}, "in": d.get("metadata")}
        for d in documents()
    ]
    (root / "other.jsonl").write_bytes(b"\n".join(map(line, other)))
    (root / "many.jsonl").write_bytes(_many_lines())
    (root / "empty.jsonl").write_bytes(b"\n\n")
    rows = [("key", "url", "bytes", "etag", "blake2b")]
    for key, name in (("renamed", "raw/first.jsonl"), ("empty", "empty.jsonl")):
        data = (root / name).read_bytes()
        rows.append((key, name, str(len(data)), "", blake2b(data, digest_size=32).hexdigest()))
    (root / "shards.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")


# The tokenizers.

ADDED = (
    *("<eos>", "<pad>", "<bos>", "<end>", "<repo_name>", "<file_sep>"),
    *("<|file_sep|>", "<|file_separator|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"),
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "[PREFIX]", "[SUFFIX]"),
    *("<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜fim▁hole｜>", "▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"),
)
"""Control tokens of all families, whose ids are 0 to 22."""


def write_tokenizer(folder: Path, normalizer: Content | None = None) -> None:
    """A byte-level BPE with a few merges, by hand: trained, it would depend on what trains it."""
    merges = [("e", "r"), ("i", "n"), ("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("r", "e"), ("re", "t"), ("d", "e")]
    pieces = [*ADDED, *sorted(ByteLevel.alphabet()), *map("".join, merges)]
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": name, "special": True} | flags
            for number, name in enumerate(ADDED)
        ],
        "normalizer": normalizer,
        "pre_tokenizer": split | {"use_regex": True},
        "post_processor": None,
        "decoder": split | {"use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {piece: number for number, piece in enumerate(pieces)},
            "merges": merges,
        },
    }
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def small(name: str = "small", **fields: Any) -> Content:
    """A small tokenizer and what else is said of tokens; its folder is put in later."""
    ids = {"name_or_path": name, "eos_token_id": 0, "pad_token_id": 1}
    return {"dtype": "uint16"} | fields | {"tokenizer": ids | fields.get("tokenizer", {})}


# The recipes.

BUILT_IN = ("ast_fim", "olmo_midtraining", "openai_fim", "starcoder2")


def built_in(name: str) -> Content:
    return load_recipe(name).model_dump(mode="json", exclude_defaults=True)


def family(name: str, **fim: Any) -> Content:
    return {"fim": {"sentinels": name, "fim_rate": 0.8} | fim, "tokens": small()}


def arrays(**tokens: Any) -> Content:
    return {"fim": {"fim_rate": 0.7}, "tokens": tokens}


def aligned(length: int, **tokens: Any) -> Content:
    return arrays(**tokens) | {"context": {"tokens": length}}


def joined(layout: str, fim: Content | None = None, **section: Any) -> Content:
    """Documents of a language are a repository."""
    fields = {"name_field": "metadata.language", "layout": layout} | section
    content = {"raw": {"language_field": "lang"}, "repositories": fields, "fim": fim or {}}
    return content | {"tokens": small()}


RECIPES: dict[str, Content] = {
    **{name: built_in(name) for name in BUILT_IN if name != "starcoder2"},
    # Documents as given: as the recipe was before repositories were joined.
    "starcoder2": built_in("starcoder2") | {"repositories": None, "tokens": small()},
    "repositories_dolma": joined("dolma", order="dependencies", max_bytes=2000),
    "repositories_starcoder2": joined(
        "starcoder2", {"sentinels": "starcoder2"}, order="random", names=0.5, max_tokens=900
    ),
    "repositories_qwen_pieces": joined(
        "qwen2.5-coder", {"files": "last", "fim_rate": 1, "split": "syntax"}, order="path"
    )
    | {"context": {"tokens": 128, "longer": "pieces"}},
    "repositories_deepseek": joined("deepseek-coder", {"fim_rate": 0.8}, order="given"),
    # Where files are cut.
    "split_dolma": {"seed": 1, "fim": {"fim_rate": 1}, "tokens": small()},
    "split_uniform": {"seed": -2, "fim": {"fim_rate": 1, "split": "uniform"}, "tokens": small()},
    "split_lines": {
        "fim": {"fim_rate": 1, "split": "lines", "split_fallback": "uniform", "spm_format": "v2"},
        "tokens": small(),
    },
    "split_lines_else_dolma": {
        "seed": 1 << 70,
        "fim": {"fim_rate": 0.9, "split": "lines", "psm_spm_split": 0.2},
        "tokens": small(),
    },
    "split_syntax": {
        "fim": {"fim_rate": 1, "split": "syntax", "syntax_max_bytes": 400},
        "tokens": small(),
    },
    "split_mixture": {
        "fim": {
            "fim_rate": 1,
            "split": {"dolma": 0.2, "uniform": 0.2, "lines": 0.3, "syntax": 0.3},
            "split_fallback": "uniform",
            "spm_format": "v2",
        },
        "tokens": small(),
    },
    "max_middle_chars": {
        "fim": {
            "fim_rate": 1,
            "split": {"dolma": 0.25, "uniform": 0.25, "lines": 0.25, "syntax": 0.25},
            "max_middle": {"chars": 40},
        },
        "tokens": small(),
    },
    "max_middle_lines": {
        "fim": {
            "fim_rate": 1,
            "split": {"dolma": 0.25, "uniform": 0.25, "lines": 0.25, "syntax": 0.25},
            "split_fallback": "uniform",
            "max_middle": {"lines": 2},
        },
        "tokens": small(),
    },
    "max_middle_tokens": {
        "fim": {
            "fim_rate": 1,
            "split": {"dolma": 0.25, "uniform": 0.25, "lines": 0.25, "syntax": 0.25},
            "max_middle": {"tokens": 16},
        },
    },
    "max_middle_tokens_changed": {
        "fim": {"fim_rate": 1, "split": "uniform", "max_middle": {"tokens": 16}},
        "tokens": small("lossy", allow_lossy=True, tokenizer={"segment_before_tokenization": True}),
    },
    # Which files are rearranged, and how they are laid out.
    "rates_by_language": {
        "fim": {
            "document_rate": 0.6,
            "fim_rate": {"default": 0.5, "Python": 1, "C": 0, "nobody": 0.3},
        },
        "tokens": small(),
    },
    "whole_documents": {
        "fim": {"file_separator_token": None, "fim_end_token": "<end>", "psm_spm_split": 1},
        "tokens": small(),
    },
    "repositories": {
        "fim": {
            "fim_rate": 0.9,
            "psm_spm_split": 0,
            "file_separator_token": "<file_sep>",
            "repository_tokens": ["<repo_name>"],
            "fim_end_token": "<end>",
        },
        "tokens": small(label_mask="middle"),
    },
    "nothing_rearranged": {"fim": {"fim_rate": 0}, "tokens": small(shuffle=False)},
    "family_qwen2.5-coder": family("qwen2.5-coder"),
    "family_deepseek-coder": family("deepseek-coder"),
    "family_code-llama": family("code-llama", spm_format="v2"),
    "family_codegemma": family("codegemma"),
    "family_codestral": family("codestral", psm_spm_split=0),
    # How arrays are written.
    "bos_and_paragraphs": arrays(
        **small(
            tokenizer={"bos_token_id": 2, "segment_before_tokenization": True}, label_mask="middle"
        )
    ),
    "paragraphs": arrays(tokenizer={"segment_before_tokenization": True}, shuffle=False),
    "dolma_small_arrays": arrays(**small(max_size=3000, label_mask="middle", shuffle=False)),
    "dolma_arrays_shuffled": arrays(max_size=600),
    "megatron": arrays(layout="megatron", max_size=600, shuffle=False),
    "megatron_small": arrays(**small(layout="megatron", label_mask="middle", max_size=3000)),
    "datatrove": arrays(layout="datatrove", max_size=600, label_mask="middle"),
    "datatrove_in_order": arrays(layout="datatrove", shuffle=False),
    "lossy": arrays(**small("lossy", allow_lossy=True)),
    # Where a trainer's sequences end.
    "aligned": aligned(512, **small(max_size=6000, align=True)),
    "aligned_datatrove": aligned(256, layout="datatrove", align=True, shuffle=False),
    "aligned_and_padded": aligned(512, **small(label_mask="text", align="pad")),
    # Which documents are too long for a trainer's sequence.
    "context_unchanged": {
        "fim": {"fim_rate": 0.9, "split": {"dolma": 0.5, "syntax": 0.5}, "document_rate": 0.8},
        "context": {"tokens": 150},
        "tokens": small(),
    },
    "context_pieces": {
        "fim": {
            "fim_rate": 0.6,
            "file_separator_token": "<file_sep>",
            "repository_tokens": ["<repo_name>"],
            "split": {"lines": 0.5, "uniform": 0.5},
            "spm_format": "v2",
        },
        "context": {"tokens": 100, "longer": "pieces"},
        "tokens": small(label_mask="middle", max_size=3000),
    },
    "context_pieces_masked_text": {
        "fim": {"fim_rate": {"default": 0.5, "Python": 0.9}},
        "context": {"tokens": 64, "longer": "pieces"},
        "tokens": {
            "layout": "datatrove",
            "label_mask": "text",
            "tokenizer": {"segment_before_tokenization": True},
        },
    },
    "context_pieces_lossy": {
        "context": {"tokens": 80, "longer": "pieces"},
        "tokens": small(
            "lossy", allow_lossy=True, tokenizer={"bos_token_id": 2}, layout="megatron"
        ),
    },
    # What is read.
    "few_lines": {"raw": {"max_line_bytes": 600, "max_empty_share": 1}, "tokens": small()},
    "many_documents": {
        "raw": {"documents": ["many.jsonl"]},
        "fim": {"split": {"dolma": 0.3, "uniform": 0.3, "lines": 0.4}},
    },
    "other_fields": {
        "raw": {
            "documents": ["other.jsonl", "empty.jsonl"],
            "text_field": r"a\.b",
            "id_field": "doc.key",
            "language_field": "in.language",
            "path_field": "in.path",
        },
        "fim": {"split": "syntax", "fim_rate": 1},
        "tokens": small(),
    },
    "manifest": {"raw": {"documents": ["shards.tsv"]}, "tokens": small()},
    "key_prefix": {"tokens": small()},
}
"""Fields by name; `write_recipe` adds that any number of lines may be rejected."""

REPORTED = {*BUILT_IN, "datatrove", "manifest", "key_prefix"}
"""Those of whose corpus a report is made, which takes longer than all else."""

PREFIX = {"key_prefix": ("a", "b")}
"""What some go behind."""


def write_recipe(name: str, root: Path) -> Path:
    content = RECIPES[name]
    content = content | {"raw": {"max_rejected_share": 1} | content.get("raw", {})}
    tokenizer = content.get("tokens", {}).get("tokenizer", {})
    if "name_or_path" in tokenizer:
        folder = root / tokenizer["name_or_path"]
        write_tokenizer(folder, {"type": "NFC"} if folder.name == "lossy" else None)
        tokens = content["tokens"] | {"tokenizer": tokenizer | {"name_or_path": str(folder)}}
        content = content | {"tokens": tokens}
    path = root / f"{name}.yaml"
    path.write_text(json.dumps(content), "utf-8")
    return path


# What they make.


@contextmanager
def settings(root: Path, recipe: Path | str) -> Iterator[None]:
    """The variables that say where things lie."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("FIM_ENGINE", "FIM_PARTITIONS_PER_RUN"):
            patch.delenv(variable, raising=False)
        patch.setenv("FIM_DATA_ROOT", str(root / "data"))
        patch.setenv("FIM_INPUT_ROOT", str(root))
        patch.setenv("FIM_RECIPE", str(recipe))
        patch.setenv("FIM_WORKERS", "1")
        patch.setattr(sys, "argv", ["dagster"])
        yield


def definitions(recipe: Path, prefix: tuple[str, ...]) -> dg.Definitions:
    """The definitions of the environment, which `build_definitions` alone puts behind a prefix."""
    if not prefix:
        return defs()
    read: Any = signature(build_definitions).parameters["settings"].annotation
    return build_definitions(load_recipe(recipe), read.from_environment(), prefix)


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def digest_json(content: Any) -> str:
    return digest(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def words(names: Iterable[str]) -> str:
    return " ".join(sorted(names))


def make(name: str, root: Path) -> Content:
    """Take the corpus through a recipe; what is stored of it."""
    write_corpus(root)
    recipe = write_recipe(name, root)
    with settings(root, recipe):
        built = definitions(recipe, PREFIX.get(name, ()))
        assets = [asset for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)]
        partitions = next(asset.partitions_def for asset in assets if asset.partitions_def)
        keys = list(partitions.get_partition_keys())
        without = [] if name in REPORTED else [dg.AssetKey("corpus_report")]
        result = dg.materialize(
            assets,
            selection=dg.AssetSelection.all() - dg.AssetSelection.assets(*without),
            instance=dg.DagsterInstance.ephemeral(),
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            },
        )
    return {"failures": _failures(result), **_told(built, result), **_written(root)}


def _failures(result: dg.ExecuteInProcessResult) -> list[str]:
    errors = [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    return [error.message.strip() for error in errors if error is not None]


def _told(built: dg.Definitions, result: dg.ExecuteInProcessResult) -> Content:
    """What Dagster is told, by asset."""
    graph = built.resolve_asset_graph()
    told: Content = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        made = [m for m in _materializations(result) if m.asset_key == key]
        told[key.to_user_string()] = {
            "code_version": node.code_version,
            "checks": words(check.name for check in graph.get_check_keys_for_assets({key})),
            "metadata of definition": words(node.metadata),
            "metadata of partitions": words({name for m in made for name in m.metadata}),
            "partitions": words(m.partition for m in made if m.partition),
            "tags": words({tag for m in made for tag in m.tags or {}}),
        }
    return {"assets": told}


def _materializations(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization
    ]


def _written(root: Path) -> Content:
    """What lies below the data root: files that say when or how long are looked into."""
    files: dict[str, str] = {}
    checks: dict[str, set[str]] = {}
    data = root / "data"
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        name, content = path.relative_to(data).as_posix(), path.read_bytes()
        if path.name == "summary.json":
            # The recipe's paths are those of this run.
            summary = json.loads(content.replace(str(root).encode(), b""))
            files |= {f"{name} {part}": digest_json(value) for part, value in summary.items()}
        elif path.suffix == ".json":
            receipt = json.loads(content)
            files[f"{name} result"] = digest_json(receipt["result"])
            checks.setdefault(path.parent.name, set()).update(receipt["made"]["checks"])
        elif path.parent.name == "corpus_report":
            files[name] = "written"
        else:
            files[name] = digest(content)
    return {"files": files, "checks passed": {asset: words(its) for asset, its in checks.items()}}


# What others call.


def edge(root: Path) -> Content:
    """Names of the package and of the commands, and what they answer, as far as it is stored."""
    assert not make("split_dolma", root)["failures"]
    recipe = root / "split_dolma.yaml"
    with settings(root, recipe):
        return {
            "package": words(fim_assets.__all__),
            "recipe": Recipe().model_dump(mode="json"),
            "fingerprints": {name: _fingerprints(load_recipe(name)) for name in BUILT_IN},
            "functions": _functions(root / "data", load_recipe(recipe)),
            "dagster": _dagster(defs()),
            "commands": dict(_parameters(fim_command())),
            **_answers(root),
        }


def fim_command() -> click.Command:
    """What the command `fim-assets` runs."""
    (script,) = entry_points(group="console_scripts", name="fim-assets")
    command: click.Command = script.load()
    return command


def _parameters(command: click.Command, name: str = "fim-assets") -> Iterator[tuple[str, str]]:
    """A command's options and arguments, and those of its own commands."""
    names = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            names.append(f"{parameter.name}{'...' * (parameter.nargs == -1)}")
        else:
            names += [*parameter.opts, *parameter.secondary_opts]
    yield name, words(names)
    if isinstance(command, click.Group):
        for own, its in command.commands.items():
            yield from _parameters(its, f"{name} {own}")


def _fingerprints(recipe: Recipe) -> dict[str, str]:
    assets = ("raw_shards", "fim_shards", "token_arrays", "corpus_report")
    corpus = Corpus(recipe, "0" * 32, Path(), stages_of(recipe))
    return {asset: corpus.fingerprint(asset) for asset in assets}


def _functions(data: Path, recipe: Recipe) -> dict[str, str]:
    """Hashes of what the functions of the package give."""
    document = transform_text(FILES[0], recipe)
    shard = data / "fim_shards" / "first.jsonl.zst"
    lines = [*restore_shard(shard, data / "fim_shards" / "first.parquet")]
    array = TokenArray(data / "token_arrays" / "first-00000.npy")
    tokenizer = load_tokenizer(recipe)
    ids = [np.asarray(document.ids).tolist() for document in array]
    parts = [[part.part, np.asarray(part.ids).tolist()] for d in array for part in d.parts]
    return {
        "TokenArray ids": digest_json(ids),
        "TokenArray parts": digest_json(parts),
        "TokenArray text": digest_json([document.text(tokenizer) for document in array]),
        "restore_shard": digest(b"".join(lines)),
        "transform_text": digest_json([document.text, document.restore()]),
    }


def _dagster(built: dg.Definitions) -> dict[str, str]:
    ops = {asset.op for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)}
    return {
        "jobs": words(job.name for job in built.jobs or []),
        "sensors": words(sensor.name for sensor in built.sensors or []),
        "ops": words(op.name for op in ops),
        "config": words(
            f"{op.name}.{field}"
            for op in ops
            for field in getattr(op.config_schema.config_type, "fields", ())
        ),
    }


def _answers(root: Path) -> dict[str, dict[str, int | str]]:
    """Exit statuses, and hashes of what other programs read."""
    for name, text in {"unknown": "fim: {rate: 1}", "broken": "fim: [", "none": "{}"}.items():
        (root / f"{name}.yaml").write_text(text, "utf-8")
    shard = "DATA/fim_shards/first"
    commands = (
        *("--help", "--version", "nothing", "--key-prefix ../x keys", "--key-prefix a/b summary"),
        *("keys", "keys --range", "FIM_RECIPE=unknown.yaml keys", "FIM_RECIPE=broken.yaml keys"),
        *("FIM_RECIPE=nowhere.yaml keys", "FIM_INPUT_ROOT=nowhere keys", "FIM_WORKERS=0 keys"),
        *("FIM_ENGINE=none keys", "FIM_PARTITIONS_PER_RUN=x keys", "FIM_DATA_ROOT=x://y keys"),
        *("FIM_RECIPE=unknown.yaml doctor", "FIM_RECIPE=broken.yaml doctor --json"),
        *("summary", "FIM_DATA_ROOT=nowhere summary", "FIM_RECIPE=none.yaml summary"),
        *("preview first", "preview second --line 2 --no-tokens", "preview nobody"),
        *("preview first --line 1 --id 5", "preview first --line 9999", "preview first --line 0"),
        *("show DATA/token_arrays/first-00000.npy", "show DATA/nothing.npy", "show"),
        *("verify", "verify second", "verify nobody"),
        *(f"restore {shard}.jsonl.zst {shard}.parquet", "restore x.jsonl.zst x.parquet"),
        *("manifest raw/*.jsonl -o DATA/../new.tsv", "manifest raw/*.jsonl -o x.csv"),
        *("manifest no/*.jsonl -o DATA/../none.tsv", "manifest"),
        *("completion bash", "completion zsh", "completion fish", "completion nosh"),
    )
    statuses: dict[str, int | str] = {}
    printed: dict[str, int | str] = {}
    for line in commands:
        *variables, arguments = _parted(line, root)
        given = dict(variable.split("=", 1) for variable in variables)
        answer = CliRunner().invoke(fim_command(), arguments, env=given)
        statuses[line] = answer.exit_code
        if line.startswith(("keys", "restore D")):
            printed[line] = digest(answer.stdout_bytes)
    return {"exit statuses": statuses, "printed": printed}


def _parted(line: str, root: Path) -> list[Any]:
    """A command's variables, with their files below the root, and its arguments."""
    variables = []
    rest = line.split()
    while rest[0].startswith("FIM_"):
        name, value = rest.pop(0).split("=")
        is_place = value.endswith(".yaml") or value == "nowhere"
        variables.append(f"{name}={root / value if is_place else value}")
    return [*variables, [part.replace("DATA", str(root / "data")) for part in rest]]


# The comparison.


def flat(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Values by their place, a line each; of several words, each has a line."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from flat(value, f"{path} / {name}" if path else name)
    elif isinstance(content, str) and " " in content:
        yield from ((f"{path} / {word}", "there") for word in content.split())
    else:
        yield path, json.dumps(content)


def difference(stored: Content, made: Content) -> list[str]:
    """What differs, each as a line."""
    before, after = dict(flat(stored)), dict(flat(made))
    return [
        f"{place}: stored {before.get(place, 'nothing')}, now {after.get(place, 'nothing')}"
        for place in sorted(before.keys() | after.keys())
        if before.get(place) != after.get(place)
    ]


def library_versions() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}


@cache
def stored() -> Content:
    content: Content = json.loads(STORED.read_text("utf-8"))
    return content


def refuse_difference(name: str, before: Content, after: Content, root: Path) -> None:
    lines = difference(before, after)
    if lines:
        others = difference(stored()["versions"], library_versions())
        lines += [f"made by other versions: {other}" for other in others]
        pytest.fail(f"{name} is not what it was; its files: {root}\n" + "\n".join(lines), False)


def test_the_stored_recipes_are_these() -> None:
    assert stored()["recipes"].keys() == RECIPES.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_what_it_made(name: str, tmp_path: Path) -> None:
    before = stored()["recipes"].get(name, {})
    refuse_difference(name, before, make(name, tmp_path), tmp_path)


def test_what_others_call_is_what_it_was(tmp_path: Path) -> None:
    refuse_difference("the edge", stored()["edge"], edge(tmp_path), tmp_path)


def write_stored() -> None:
    """Write the stored file anew."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("edge", *RECIPES):
            (folder / name).mkdir()
        content: Content = {
            "versions": library_versions(),
            "edge": edge(folder / "edge"),
            "recipes": {name: make(name, folder / name) for name in RECIPES},
        }
    failures = {name: made["failures"] for name, made in content["recipes"].items()}
    assert not any(failures.values()), failures
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    STORED.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    write_stored()
