"""`fim.max_middle` through the stages: every unit and method, on hostile texts too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fim_assets.corpus.stage import CheckOutcome
from fim_assets.cuts.base import CutError
from fim_assets.cuts.bounded import ENDS, Bound
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import document_keys
from fim_assets.fim_shards import decisions
from fim_assets.fim_shards.decisions import Decisions, decide
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.preview.notebook import transform_text
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Outcome
from fim_assets.tokenizer.encoders import UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer, load_for_fim, load_tokenizer
from fim_assets.tokenizer.paragraphs import paragraphs
from fim_assets_tests.corpora import (
    TEXTS,
    documents,
    fingerprint,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.tokenizer.small_tokenizers import (
    CODE,
    byte_level_bpe,
    save,
    sentencepiece_like,
    small_recipe,
)

UNITS = ("chars", "lines", "tokens")

CODE_LINES = "".join(f"def f{n}(x):\n    return x + {n}  # 日本 {'.' * n}\n\n" for n in range(40))

HOSTILE = {
    "one line": "x = 1; " * 5000,
    "no line feed": "word " * 3000,
    "combining marks": "e" + "\u0301\u0328\u0334" * 4000 + "\n",
    "equal characters": "a" * 200_000,
    "equal characters of four bytes": "🚀" * 20_000,
    "line feeds": "\n" * 5000,
    "spaces": " " * 5000,
    "a long line among short ones": "a\nb\n" + "long " * 4000 + "\nc\n",
    "one character": "é",
    "five characters": "🚀🚀🚀🚀🚀",
    "an empty line": "\n",
    "carriage returns": "a\r\n\r\nb\r" * 500,
    "zeros": "\x00" * 300 + "\u2028\u0085" * 300,
    "code": CODE_LINES,
    "broken code": "def broken(:\n    return ((((\n  else:\n}}}}\nclass\n" * 20,
}


def recipe_of(split: str, unit: str, most: int, **fim: Any) -> Recipe:
    content = {"fim_rate": 1, "split": split, "max_middle": {unit: most}} | fim
    return Recipe.model_validate({"fim": content})


def files_of(texts: list[str], language: str | None = "Python") -> Files:
    count = len(texts)
    keys = document_keys(5, [str(n) for n in range(count)], texts)
    return Files.split(texts, keys, [language] * count, [None] * count, None, ())


def decided(recipe: Recipe, texts: list[str]) -> Decisions:
    return decide(files_of(texts), recipe, load_for_fim(recipe))


def middles(texts: list[str], found: Decisions) -> list[str]:
    cuts = zip(texts, *(cut.tolist() for cut in found.cuts), strict=True)
    return [text[first:second] for text, first, second in cuts]


def size_of(middle: str, unit: str, tokenizer: LoadedTokenizer) -> int:
    """As the token stage encodes a part, and by counting."""
    if unit == "tokens":
        texts = paragraphs(middle) if tokenizer.paragraphs else [middle]
        return sum(map(len, tokenizer.encoder.encode(texts)))
    return len(middle) if unit == "chars" else len(middle.split("\n")) - middle.endswith("\n")


def sizes(unit: str, found: list[str], recipe: Recipe) -> list[int]:
    tokenizer = load_tokenizer(recipe)
    return [size_of(middle, unit, tokenizer) if middle else 0 for middle in found]


@pytest.mark.parametrize("split", CUTS)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("fallback", ["dolma", "uniform"])
def test_no_middle_is_longer_on_hostile_texts(split: str, unit: str, fallback: str) -> None:
    """Each text many times, so that short ones are cut everywhere."""
    texts = [text for text in HOSTILE.values() for _ in range(1 + 2000 // (20 + len(text)))]
    for most in (1, 2, 7, 100):
        recipe = recipe_of(split, unit, most, split_fallback=fallback)
        found = decided(recipe, texts)
        assert max(sizes(unit, middles(texts, found), recipe)) <= most
        cut = found.orders != "none"
        least = recipe.fim.min_chars
        assert [len(text) >= least for text in texts] == cut.tolist()
        first, second = found.cuts
        lengths = np.array([*map(len, texts)])
        assert (first[cut] <= second[cut]).all()
        by_dolma = found.splits == "dolma"
        assert (first[by_dolma] >= 1).all()
        assert ((lengths - second)[by_dolma] >= 3).all()
        assert unit == "tokens" or (first < second)[by_dolma].all()


@pytest.mark.parametrize(("unit", "most"), [("chars", 120), ("lines", 8), ("tokens", 40)])
@pytest.mark.parametrize("split", CUTS)
def test_middles_reach_the_bound(unit: str, most: int, split: str) -> None:
    """It is a bound, and no middle is cut much shorter than the law draws it."""
    texts = [f"{CODE_LINES}{n}" for n in range(400)]
    recipe = recipe_of(split, unit, most)
    found = sizes(unit, middles(texts, decided(recipe, texts)), recipe)
    assert max(found) >= 0.8 * most
    if split in {"dolma", "uniform"}:
        assert max(found) == most
        assert 0.45 < np.mean(found) / most < 0.57


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("most", [1, 6])
def test_files_are_cut_alike_together_and_alone(unit: str, most: int) -> None:
    """Where some are drawn again or shortened, and others are not."""
    quarters = dict.fromkeys(CUTS, 0.25)
    recipe = Recipe.model_validate(
        {"fim": {"fim_rate": 1, "split": quarters, "max_middle": {unit: most}}}
    )
    files = files_of([*TEXTS, *(text[:400] for text in HOSTILE.values())] * 3)
    tokenizer = load_for_fim(recipe)
    together = decide(files, recipe, tokenizer)
    for row, text in enumerate(files.texts):
        key = files.keys[row : row + 1]
        alone = Files.split([text], key, files.languages[:1], [None], None, ())
        found = decide(alone, recipe, tokenizer)
        assert (found.splits[0], found.reasons[0]) == (together.splits[row], together.reasons[row])
        assert [cut[0] for cut in found.cuts] == [cut[row] for cut in together.cuts]


KINDS = {
    "nfc": lambda: byte_level_bpe(CODE, nfc=True),
    "prepend": lambda: sentencepiece_like(prepend=True),
    "metaspace": lambda: sentencepiece_like(prepend=True, metaspace=True),
    "bytes": lambda: byte_level_bpe(CODE),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("paragraphwise", ["", "paragraphwise"])
def test_ids_are_those_of_any_tokenizer(kind: str, paragraphwise: str, tmp_path: Path) -> None:
    tokens = {"allow_lossy": True} if kind != "bytes" else {}
    ids = save(tmp_path, KINDS[kind]())
    texts = [*TEXTS, *(text[:3000] for text in HOSTILE.values()), "e\u0301\n\nn\u0303" * 200]
    for split in ("dolma", "uniform", "lines"):
        fim = {"fim_rate": 1, "split": split, "max_middle": {"tokens": 5}}
        recipe = small_recipe(tmp_path, ids, tokens, fim)
        tokenizer = replace(load_tokenizer(recipe), paragraphs=bool(paragraphwise))
        found = middles(texts, decide(files_of(texts), recipe, tokenizer))
        assert max(size_of(middle, "tokens", tokenizer) for middle in found if middle) <= 5


# The stages.


def run(root: Path, recipe: Recipe, count: int = 400) -> Outcome:
    rows = documents(count)
    for row in rows[::2]:
        row["text"] = CODE_LINES[: 40 + 7 * int(row["id"])] + row["text"]
    write_shard(root / "raw" / "a.jsonl", rows)
    return run_all(open_corpus(root, recipe))["a"]


def split_law(outcome: Outcome) -> CheckOutcome:
    return next(
        check for stage in outcome.stages for check in stage.checks if check.name == "split_law"
    )


@pytest.mark.parametrize("split", CUTS)
@pytest.mark.parametrize("unit", UNITS)
def test_every_method_and_unit_passes_every_check(split: str, unit: str, tmp_path: Path) -> None:
    recipe = recipe_of(split, unit, 9)
    outcome = run(tmp_path, recipe)
    assert outcome.failure is None
    folder = tmp_path / "fim_shards"
    restored = b"".join(restore_shard(folder / "a.jsonl.zst", folder / "a.parquet"))
    assert restored == (tmp_path / "raw" / "a.jsonl").read_bytes().replace(b"\n", b"")
    files = (
        pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")["files"].explode().struct.unnest()
    )
    tokens = (files["middle_end"] - files["middle_start"]).drop_nulls()
    chars = pl.read_parquet(folder / "a.parquet")["middle_chars"].to_numpy()
    assert tokens.max() == 9 if unit == "tokens" else tokens.len() > 100
    assert chars.max() == 9 if unit == "chars" else chars.max() > 9
    # The law is tested where the record alone tells it.
    numbers = split_law(outcome).numbers
    by_position = {name for name in ("dolma", "uniform") if f"{name}_files" in numbers}
    assert ("other_files" in numbers) is (unit != "chars" or split in {"lines", "syntax"})
    assert by_position == (set() if unit != "chars" else {split if split == "uniform" else "dolma"})
    for name in by_position:
        assert {f"{name}_middle_length_distance", f"{name}_middle_start_distance"} <= numbers.keys()


@pytest.mark.parametrize("split", ["dolma", "lines"])
def test_middles_over_the_bound_are_noticed(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "_bound", lambda *_: None)
    outcome = run(tmp_path, recipe_of(split, "chars", 9))
    assert outcome.failure is not None
    assert "check split_law failed: " in outcome.failure
    assert "has a middle over max_middle" in outcome.failure


@pytest.mark.parametrize("split", ["dolma", "uniform"])
def test_middles_of_another_law_are_noticed(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as long as asked for."""
    halved = Bound("chars", 20, ENDS["chars"])
    monkeypatch.setattr(decisions, "_bound", lambda *_: halved)
    outcome = run(tmp_path, recipe_of(split, "chars", 40))
    assert outcome.failure is not None
    assert f"check split_law failed: {split}, middle length: 0." in outcome.failure


def test_a_file_that_cannot_be_encoded_is_named() -> None:
    texts = ["fine one", "fine two", "this one cannot be"]
    recipe = recipe_of("uniform", "tokens", 3)
    tokenizer = load_tokenizer(recipe)

    class Encoder:
        name = "none"

        def encode(self, given: list[str]) -> list[Any]:
            for index, text in enumerate(given):
                if "cannot" in text:
                    raise UnencodableTextError(index, text, ValueError("it gives up"))
            return tokenizer.encoder.encode(given)

    encoders = tokenizer.encoders._replace(used=Encoder())
    with pytest.raises(CutError, match="a text of 18 characters: it gives up; take the") as caught:
        decide(files_of(texts), recipe, replace(tokenizer, encoders=encoders))
    assert caught.value.document == 2


# What depends on it.


def test_fingerprints_depend_on_the_bound_and_on_the_tokenizer_where_ids_are_bound() -> None:
    def of(recipe: Recipe, tokenizer_hash: str = "t") -> str:
        return fingerprint(recipe, "fim_shards", tokenizer_hash)

    bounds = [recipe_of("dolma", unit, most) for unit in UNITS for most in (4, 5)]
    without = Recipe.model_validate({"fim": {"fim_rate": 1}})
    assert len({*map(of, [*bounds, without])}) == 7
    changed = [of(recipe, "t") != of(recipe, "other") for recipe in bounds]
    assert changed == [False] * 4 + [True] * 2
    assert [recipe.fim_needs_tokenizer for recipe in bounds] == changed
    for recipe in bounds:
        paragraphwise = Recipe.model_validate(
            recipe.model_dump(exclude_defaults=True)
            | {"tokens": {"tokenizer": {"segment_before_tokenization": True}}}
        )
        assert (of(recipe) != of(paragraphwise)) is recipe.fim_needs_tokenizer


def test_where_it_is_not_set_nothing_says_it() -> None:
    recipe = Recipe()
    assert "max_middle" not in recipe.fim.model_dump_json()
    assert "max_middle" not in str(FIM_SHARDS.identity(recipe, "t"))
    assert "max_middle" not in FIM_SHARDS.tags(recipe)
    bounded = recipe_of("dolma", "lines", 3)
    assert '"max_middle":{"lines":3}' in bounded.fim.model_dump_json()
    assert FIM_SHARDS.tags(bounded)["max_middle"] == "3_lines"


def test_a_preview_cuts_as_the_stage_does(tmp_path: Path) -> None:
    recipe = recipe_of("dolma", "tokens", 4)
    write_shard(tmp_path / "raw" / "a.jsonl", [{"id": "7", "text": CODE_LINES}])
    assert run_all(open_corpus(tmp_path, recipe))["a"].failure is None
    [row] = pl.read_parquet(tmp_path / "fim_shards" / "a.parquet").to_dicts()
    [file] = transform_text(CODE_LINES, recipe, partition_key="a", document_id="7").files
    assert [*file.lengths] == [row[f"{part}_chars"] for part in ("prefix", "middle", "suffix")]
    assert file.parts is not None
    assert sizes("tokens", [file.parts.middle], recipe)[0] <= 4
