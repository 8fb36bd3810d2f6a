from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.parsing.grammars import grammar_versions
from fim_assets.recipe import (
    _FROM_DOLMA,
    Recipe,
    built_in_name,
    built_in_recipes,
    load_recipe,
    parse_recipe,
    recipe_yaml,
)
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.families import SENTINELS, Sentinels
from fim_assets.recipe.fim import Fim, SplitWeights
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.tokens import Tokenizer, Tokens
from fim_assets.recipe.values import field_names, field_path
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import fingerprint

ALL = (*ASSETS, "corpus_report")

REVISION = "0123456789abcdef" * 2 + "01234567"

DEFAULTS = """
seed: 3920
raw: {documents: ["raw/**/*.json*"], text_field: text, id_field: id,
      language_field: metadata.language, path_field: metadata.path,
      max_line_bytes: 67108864, max_rejected_share: 0.001, max_empty_share: null}
fim: {document_rate: 1.0, fim_rate: 0.5, psm_spm_split: 0.5, split: dolma, split_fallback: dolma,
      max_middle: null, syntax_max_bytes: 1048576, spm_format: dolma,
      file_separator_token: "<|file_sep|>",
      repository_tokens: [], fim_prefix_token: "<|fim_prefix|>",
      fim_middle_token: "<|fim_middle|>", fim_suffix_token: "<|fim_suffix|>", fim_end_token: null}
tokens: {tokenizer: {name_or_path: allenai/dolma2-tokenizer, revision: null, bos_token_id: null,
                     eos_token_id: 100257, pad_token_id: 100277,
                     segment_before_tokenization: false},
         allow_lossy: false, layout: dolma, label_mask: null, dtype: uint32,
         max_size: 536870912, shuffle: true}
"""


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("recipe mine.yaml: ")
    return message.removeprefix("recipe mine.yaml: ")


def changed(changes: str, tokenizer_hash: str = "t") -> list[str]:
    """Assets whose fingerprint differs from the default recipe's."""
    default, other = Recipe(), parse_recipe(changes, "mine.yaml")
    return [
        asset
        for asset in ALL
        if fingerprint(default, asset, "t") != fingerprint(other, asset, tokenizer_hash)
    ]


def test_the_built_in_recipe_is_the_default() -> None:
    assert "olmo_midtraining" in built_in_recipes()
    assert load_recipe("olmo_midtraining") == Recipe()


def test_every_default_is_what_the_readme_documents() -> None:
    assert parse_recipe(DEFAULTS, "r") == Recipe()


@pytest.mark.parametrize("text", ["{}", "raw: {}\nfim: {}\n"])
def test_what_is_left_out_takes_its_default(text: str) -> None:
    assert parse_recipe(text, "r") == Recipe()


def test_a_file_is_read_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes('seed: 7\nfim: {fim_prefix_token: "<｜fim▁begin｜>"}\n'.encode())
    recipe = load_recipe(str(path))
    assert load_recipe(path) == recipe
    assert recipe == Recipe(seed=7, fim=Fim(fim_prefix_token="<｜fim▁begin｜>"))
    assert recipe.fim.sentinels[:3] == ("<｜fim▁begin｜>", "<|fim_middle|>", "<|fim_suffix|>")


def test_a_missing_file_is_refused_with_the_built_in_names(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.yaml: no such file.*olmo_midtraining"):
        load_recipe(str(tmp_path / "nowhere.yaml"))


def test_a_file_that_is_not_utf8_is_refused_as_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"seed: 1  # caf\xe9\n")
    with pytest.raises(RecipeError, match=r"latin\.yaml"):
        load_recipe(str(path))


@pytest.mark.parametrize("text", ["- seed", "seed", "3"])
def test_a_recipe_is_a_mapping(text: str) -> None:
    assert refusal(text).startswith("must be a mapping of fields, got ")


@pytest.mark.parametrize("text", ["seed: [", "a: b: c", "seed: 1\n---\nseed: 2"])
def test_broken_yaml_is_refused(text: str) -> None:
    assert refusal(text).startswith("not YAML: ")


def test_an_unknown_field_is_refused_with_what_is_allowed() -> None:
    message = refusal("colour: red")
    assert (
        message == "colour: unknown field; allowed: seed, raw, repositories, fim, context, tokens"
    )


@pytest.mark.parametrize(
    ("text", "field", "meant"),
    [
        ("sed: 1", "sed", "seed"),
        ("raw: {text_fild: t}", "raw.text_fild", "text_field"),
        ("fim: {fim_rte: 0.5}", "fim.fim_rte", "fim_rate"),
        ("fim: {psm_spm_splits: 0.5}", "fim.psm_spm_splits", "psm_spm_split"),
        ("fim: {max_midle: {lines: 1}}", "fim.max_midle", "max_middle"),
        ("fim: {max_middle: {token: 1}}", "fim.max_middle.token", "tokens"),
        ("tokens: {maxsize: 1}", "tokens.maxsize", "max_size"),
        ("tokens: {label_masks: middle}", "tokens.label_masks", "label_mask"),
        ("tokens: {allow_losy: true}", "tokens.allow_losy", "allow_lossy"),
        ("tokens: {tokenizer: {revison: a}}", "tokens.tokenizer.revison", "revision"),
        ("tokens: {tokenizer: {eos_token: 1}}", "tokens.tokenizer.eos_token", "eos_token_id"),
    ],
)
def test_a_typo_is_refused_with_what_was_meant(text: str, field: str, meant: str) -> None:
    assert refusal(text).startswith(f"{field}: unknown field; did you mean {meant}? allowed: ")


def test_every_fault_is_named_on_a_line_of_its_own() -> None:
    message = refusal("sed: 1\nfim: {fim_rate: 2}")
    first, second = message.split("\n")
    assert first.startswith("fim.fim_rate = 2: ")
    assert second.startswith("recipe mine.yaml: sed: unknown field")


@pytest.mark.parametrize("section", ["tokens", "fim"])
@pytest.mark.parametrize("option", sorted(_FROM_DOLMA))
def test_a_dolma_option_is_refused_with_what_replaces_it(section: str, option: str) -> None:
    assert refusal(f"{section}: {{{option}: 1}}") == (
        f"{section}.{option}: unknown field; Dolma's {option} has no meaning here; "
        f"what replaces it: {_FROM_DOLMA[option]}"
    )


@pytest.mark.parametrize(
    ("option", "replacement"),
    [
        ("processes", "FIM_WORKERS"),
        ("destination", "FIM_DATA_ROOT"),
        ("documents", "raw.documents"),
        ("tokenizer_name_or_path", "tokens.tokenizer.name_or_path"),
        ("ring_size", "tokens.shuffle"),
    ],
)
def test_a_replacement_is_named(option: str, replacement: str) -> None:
    assert replacement in refusal(f"{option}: 1")


@pytest.mark.parametrize("field", ["fim_rate", "psm_spm_split"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5.0", "5.0: a probability is a share from 0 to 1; did you mean 0.5?"),
        ("2", "2: a probability is a share from 0 to 1; did you mean 0.2?"),
        ("50", "50: a probability is a share from 0 to 1; did you mean 0.5?"),
        ("100", "100: a probability is a share from 0 to 1; did you mean 1?"),
        ("101", "101: a probability is a share from 0 to 1"),
        ("-1", "-1: a probability is a share from 0 to 1"),
        (".nan", "NaN: a probability is a share from 0 to 1"),
        (".inf", "Infinity: a probability is a share from 0 to 1"),
        ("'0.5'", '"0.5": a probability is a number from 0 to 1'),
        ("true", "true: a probability is a number from 0 to 1"),
        ("null", "null: a probability is a number from 0 to 1"),
    ],
)
def test_no_probability_is_refused_with_a_hint(field: str, value: str, message: str) -> None:
    assert refusal(f"fim: {{{field}: {value}}}") == f"fim.{field} = {message}"


@pytest.mark.parametrize(("value", "rate"), [("0", 0.0), ("1", 1.0), ("0.0", 0.0), ("1.0", 1.0)])
def test_both_ends_of_a_probability_are_allowed(value: str, rate: float) -> None:
    recipe = parse_recipe(f"fim: {{fim_rate: {value}}}", "r")
    assert recipe.fim.fim_rate == rate
    assert isinstance(recipe.fim.fim_rate, float)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("seed: 1.5", "seed = 1.5: "),
        ("seed: '1'", 'seed = "1": '),
        ("seed: true", "seed = true: "),
        ("raw: {documents: raw/a.jsonl}", 'raw.documents = "raw/a.jsonl": '),
        ("raw: {documents: []}", "raw.documents = []: "),
        ("raw: {documents: ['']}", 'raw.documents.0 = "": must not be empty'),
        ("raw: {text_field: ''}", 'raw.text_field = "": '),
        ("raw: {text_field: a..b}", 'raw.text_field = "a..b": '),
        ("raw: {path_field: .a}", 'raw.path_field = ".a": '),
        ("raw: {max_empty_share: 5}", "raw.max_empty_share = 5: "),
        ("raw: {id_field: .id}", 'raw.id_field = ".id": '),
        ("fim: {split: code}", 'fim.split = "code": '),
        ("fim: {fim_prefix_token: ''}", 'fim.fim_prefix_token = "": must not be empty'),
        ("fim: {file_separator_token: ''}", 'fim.file_separator_token = "": must not be empty'),
        ("fim: null", "fim = null: must be a mapping of fields"),
        ("tokens: {label_mask: true}", "tokens.label_mask = true: allowed: middle, which "),
        ("tokens: {label_mask: [middle]}", "tokens.label_mask = ['middle']: allowed: middle, "),
        ("", "holds no field; give those that differ from olmo_midtraining, or leave FIM_RECIPE"),
        ("# nothing yet", "holds no field; "),
        ("tokens: {dtype: int64}", 'tokens.dtype = "int64": '),
        ("tokens: {max_size: 0}", "tokens.max_size = 0: "),
        ("tokens: {shuffle: 1}", "tokens.shuffle = 1: "),
        ("tokens: {tokenizer: {eos_token_id: -1}}", "tokens.tokenizer.eos_token_id = -1: "),
        (
            "tokens: {tokenizer: {eos_token_id: null}}",
            "tokens.tokenizer.eos_token_id = null: every document ends in EOS, or trainers could ",
        ),
        (
            "tokens: {tokenizer: {segment_before_tokenization: 1}}",
            "tokens.tokenizer.segment_before_tokenization = 1: ",
        ),
        ("tokens: {allow_lossy: 1}", "tokens.allow_lossy = 1: "),
        (
            "tokens: {layout: npy}",
            "tokens.layout = \"npy\": Input should be 'dolma', 'megatron' or 'datatrove'",
        ),
        ("tokens: {layout: null}", "tokens.layout = null: "),
        (
            "tokens: {label_mask: suffix}",
            'tokens.label_mask = "suffix": allowed: middle, which trains on the middles of ',
        ),
        ("tokens: {label_mask: true}", "tokens.label_mask = true: "),
    ],
)
def test_a_bad_value_is_refused_with_field_and_value(text: str, start: str) -> None:
    assert refusal(text).startswith(start)


def test_a_revision_is_a_commits_40_hex_digits() -> None:
    assert len(REVISION) == 40
    recipe = parse_recipe(f"tokens: {{tokenizer: {{revision: {REVISION}}}}}", "r")
    assert recipe.tokens.tokenizer.revision == REVISION


@pytest.mark.parametrize(
    "revision",
    ["main", "v1.0", "", REVISION[:39], f"{REVISION}0", REVISION.upper(), f"{REVISION}\\n"],
)
def test_a_revision_that_is_no_commit_is_refused(revision: str) -> None:
    """A branch or a tag may move, and part of a commit's digits may become another's."""
    message = refusal(f'tokens: {{tokenizer: {{revision: "{revision}"}}}}')
    assert message.startswith(f'tokens.tokenizer.revision = "{revision}": ')
    assert "a commit's 40 hex digits" in message
    assert "`git ls-remote https://huggingface.co/<name>` prints them" in message


@pytest.mark.parametrize(
    "field", ["fim_prefix_token", "fim_middle_token", "fim_suffix_token", "fim_end_token"]
)
@pytest.mark.parametrize(
    ("sentinel", "message"),
    [
        ("<|file_sep|>", "the control tokens must differ"),
        ("a<|file_sep|>b", "a<|file_sep|>b contains <|file_sep|>"),
    ],
)
def test_a_sentinel_that_contains_the_separator_is_refused(
    field: str, sentinel: str, message: str
) -> None:
    assert message in refusal(f"fim: {{{field}: '{sentinel}'}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repository_tokens: [<|fim_prefix|>]", "must differ"),
        ("repository_tokens: [<|fim]", "<|fim_prefix|> contains <|fim"),
        ("repository_tokens: ['<|file_sep|>s']", "<|file_sep|>s contains <|file_sep|>"),
        ("repository_tokens: [file]", "<|file_sep|> contains file"),
        ("repository_tokens: [a, a]", "must differ"),
        ("repository_tokens: [a], file_separator_token: null", "need a file_separator_token"),
        ("repository_tokens: a", 'fim.repository_tokens = "a"'),
    ],
)
def test_repository_tokens_that_stand_in_other_tokens_are_refused(text: str, message: str) -> None:
    assert message in refusal(f"fim: {{{text}}}")


def test_named_sentinels_are_those_of_the_family() -> None:
    recipe = parse_recipe("fim: {sentinels: starcoder2}", "r")
    assert recipe.fim.sentinels == Sentinels("<fim_prefix>", "<fim_middle>", "<fim_suffix>")
    spelled = "fim: {fim_prefix_token: <fim_prefix>, fim_middle_token: <fim_middle>, "
    spelled += "file_separator_token: <file_sep>, "
    assert recipe == parse_recipe(f"{spelled} fim_suffix_token: <fim_suffix>}}", "r")
    other = parse_recipe("fim: {sentinels: starcoder2, file_separator_token: <f>}", "r")
    assert other.fim.file_separator_token == "<f>"
    assert parse_recipe("fim: {sentinels: dolma2}", "r") == Recipe()
    assert parse_recipe("fim: {sentinels: code-llama}", "r").fim.fim_end_token == "▁<EOT>"


@pytest.mark.parametrize("name", SENTINELS)
def test_every_family_makes_a_recipe(name: str) -> None:
    psm = 0.0 if SENTINELS[name].middle is None else 0.5
    fim = parse_recipe(f"fim: {{sentinels: {name}, psm_spm_split: {psm}}}", "r").fim
    assert fim.sentinels == SENTINELS[name]
    assert Fim.model_validate_json(fim.model_dump_json()) == fim


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sentinels: starcoder",
            'sentinels = "starcoder": no set has this name; allowed: dolma2, ',
        ),
        ("sentinels: [a]", 'sentinels = ["a"]: no set has this name'),
        (
            "sentinels: dolma2, fim_end_token: x",
            "sentinels = dolma2 and fim_end_token say the same",
        ),
        ("sentinel: dolma2", "fim.sentinel: unknown field; did you mean sentinels?"),
        ("sentinels: codestral", "without fim_middle_token only the layout SUF suffix PRE prefix"),
        ("fim_middle_token: null, psm_spm_split: 0, spm_format: v2", "without fim_middle_token"),
    ],
)
def test_sentinels_that_cannot_be_used_are_refused(text: str, message: str) -> None:
    assert message in refusal(f"fim: {{{text}}}")


def test_a_rate_may_be_given_by_language() -> None:
    fim = parse_recipe("fim: {fim_rate: {default: 0.5, C: 1, Markdown: 0}}", "r").fim
    rates = [fim.rate(name) for name in ("C", "Markdown", "c", "", None, "default")]
    assert rates == [1.0, 0.0, 0.5, 0.5, 0.5, 0.5]
    assert Fim.model_validate_json(fim.model_dump_json()) == fim
    assert Fim(fim_rate=0.25).rate("C") == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fim_rate: {C: 0.5}", "fim.fim_rate.default: Field required"),
        (
            "fim_rate: {default: 0.5, C: 50}",
            "fim.fim_rate.C = 50: a probability is a share from 0 to 1; did",
        ),
        ("fim_rate: {default: 1, '': 0}", "fim.fim_rate: a language's name must not be empty"),
        ("fim_rate: {default: x}", 'fim.fim_rate.default = "x": a probability is a number'),
        ("fim_rate: [0.5]", "fim.fim_rate = [0.5]: a probability is a number"),
        ("split: {syntax: 0.9}", "fim.split: weights must add up to 1, these to 0.9"),
        ("split: {syntax: 0.9, unform: 0.1}", "fim.split.unform: unknown field; did you mean unif"),
        (
            "split: {syntax: -1, dolma: 2}",
            "fim.split.syntax = -1: a probability is a share from 0 to 1",
        ),
        ("split: tree", "fim.split = \"tree\": Input should be 'dolma', 'uniform', 'lines' or "),
        (
            "split_fallback: lines",
            "fim.split_fallback = \"lines\": Input should be 'dolma' or 'uni",
        ),
        ("syntax_max_bytes: 0", "fim.syntax_max_bytes = 0"),
        ("max_middle: 64", "fim.max_middle = 64: must be a mapping of fields"),
        ("max_middle: {}", "fim.max_middle: give one of chars, lines, tokens"),
        ("max_middle: {chars: null}", "fim.max_middle: give one of chars, lines, tokens"),
        (
            "max_middle: {chars: 700, tokens: 64}",
            "fim.max_middle: give one of chars, lines, tokens, got chars and tokens",
        ),
        ("max_middle: {lines: 0}", "fim.max_middle.lines = 0: Input should be greater than or eq"),
        ("max_middle: {tokens: -1}", "fim.max_middle.tokens = -1: Input should be greater than"),
        ("max_middle: {chars: 1.5}", "fim.max_middle.chars = 1.5: Input should be a valid integer"),
        ("max_middle: {chars: true}", "fim.max_middle.chars = true: Input should be a valid integ"),
        ("max_middle: {words: 3}", "fim.max_middle.words: unknown field; allowed: chars, lines, "),
        (
            "document_rate: 50",
            "fim.document_rate = 50: a probability is a share from 0 to 1; did you mean 0.5?",
        ),
    ],
)
def test_rates_and_methods_that_make_no_sense_are_refused(text: str, message: str) -> None:
    assert message in refusal(f"fim: {{{text}}}")


def test_weights_are_those_of_the_methods_in_use() -> None:
    assert Fim().weights == {"dolma": 1.0}
    fim = parse_recipe("fim: {split: {syntax: 0.9, uniform: 0.1}}", "r").fim
    assert fim.weights == {"uniform": 0.1, "syntax": 0.9}


def test_fields_to_keep_are_a_set() -> None:
    one, other = (parse_recipe(f"raw: {{keep_fields: [{t}]}}", "r") for t in ("a, b", "b, a, b"))
    assert one == other
    assert fingerprint(one, "raw_shards", "t") == fingerprint(other, "raw_shards", "t")


@pytest.mark.parametrize(
    "text",
    [
        "raw: {path_field: file.name}",
        "fim: {syntax_max_bytes: 5}",
        "fim: {split_fallback: uniform}",
    ],
)
def test_what_no_method_uses_changes_no_fingerprint(text: str) -> None:
    assert changed(text) == []
    law = ", split: syntax}"
    used = f"{text}\nfim: {{split: syntax}}" if "raw" in text else text.replace("}", law)
    assert fingerprint(parse_recipe(used, "r"), "fim_shards", "t") != fingerprint(
        parse_recipe("fim: {split: syntax}", "r"), "fim_shards", "t"
    )


def test_a_method_that_parses_depends_on_the_grammars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another grammar cuts elsewhere: outputs of an older one must not count as complete."""
    syntax, lines = Recipe(fim=Fim(split="syntax")), Recipe(fim=Fim(split="lines"))
    before = [fingerprint(recipe, "fim_shards", "t") for recipe in (syntax, lines)]
    versions = grammar_versions() | {"tree-sitter-c": "999"}
    assert len(versions) == 16
    monkeypatch.setattr("fim_assets.cuts.syntax.grammar_versions", lambda: versions)
    after = [fingerprint(recipe, "fim_shards", "t") for recipe in (syntax, lines)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]


@pytest.mark.parametrize(
    ("split", "fallback", "chars"),
    [
        ("dolma", "dolma", 5),
        ("uniform", "dolma", 1),
        ("lines", "uniform", 1),
        ("lines", "dolma", 5),
        ("syntax", "uniform", 1),
        ("syntax", "dolma", 5),
        (SplitWeights(uniform=0.5, dolma=0.5), "uniform", 5),
        (SplitWeights(lines=0.5, syntax=0.5), "uniform", 1),
    ],
)
def test_the_shortest_file_of_a_recipe_is_one_that_every_method_in_use_cuts(
    split: str | SplitWeights, fallback: str, chars: int
) -> None:
    assert Fim(split=split, split_fallback=fallback).min_chars == chars


def test_the_separator_may_contain_a_sentinel() -> None:
    text = "fim: {file_separator_token: '<|fim_prefix|>-file'}"
    assert parse_recipe(text, "r").fim.file_separator_token == "<|fim_prefix|>-file"


@pytest.mark.parametrize(
    "text",
    [
        "fim: {fim_middle_token: <|fim_prefix|>}",
        "fim: {fim_suffix_token: <|fim_prefix|>}",
        "fim: {fim_suffix_token: <|fim_middle|>}",
    ],
)
def test_equal_sentinels_are_refused(text: str) -> None:
    assert refusal(text).startswith("fim: the control tokens must differ, got ")


def test_a_null_separator_makes_a_document_one_file() -> None:
    recipe = parse_recipe("fim: {file_separator_token: null}", "r")
    assert recipe.fim.file_separator_token is None
    assert changed("fim: {file_separator_token: null}") == [
        "fim_shards",
        "token_arrays",
        "corpus_report",
    ]


@pytest.mark.parametrize(("seed", "key"), [(3920, "a"), (0, "C__b__ü"), (-5, "a"), (1 << 70, "a")])
def test_a_partition_seed_is_the_first_half_word_of_blake2b(seed: int, key: str) -> None:
    digest = blake2b(str(seed).encode() + b"/" + key.encode()).digest()
    expected = sum(digest[place] << (8 * place) for place in range(8))
    assert Recipe(seed=seed).partition_seed(key) == expected


def test_partition_seeds_differ_by_seed_and_key() -> None:
    seeds = {Recipe(seed=seed).partition_seed(key) for seed in range(20) for key in "abcdefghij"}
    assert len(seeds) == 200


@pytest.mark.parametrize(
    ("asset", "published"),
    [
        ("raw_shards", "a7298c3962e3b2f49bdaedba40042c82"),
        ("fim_shards", "c2b902660e8c209ab65864835945864d"),
        ("token_arrays", "cd24de09cb405e634f04667bf06d2807"),
    ],
)
def test_the_default_law_is_the_published_one(asset: str, published: str) -> None:
    """Fails when old outputs no longer count as complete: on purpose only, with a new law."""
    assert fingerprint(Recipe(), asset, "t") == published


def test_a_changed_law_is_the_published_one() -> None:
    recipe = Recipe(
        seed=1, fim=Fim(fim_rate=0.25), tokens=Tokens(tokenizer=Tokenizer(eos_token_id=1))
    )
    assert fingerprint(recipe, "token_arrays", "t") == "317f1b0467105956195bd06b77d4cade"


def test_explicit_defaults_change_no_fingerprint() -> None:
    assert changed(DEFAULTS) == []


@pytest.mark.parametrize(
    "text",
    [
        "raw: {documents: [elsewhere/*.jsonl]}",
        "raw: {max_rejected_share: 0.5}",
        "raw: {max_empty_share: 0.5}",
        "tokens: {tokenizer: {name_or_path: my/copy/of/dolma2}}",
        f"tokens: {{tokenizer: {{name_or_path: allenai/dolma2-tokenizer, revision: {REVISION}}}}}",
    ],
)
def test_where_things_lie_changes_no_fingerprint(text: str) -> None:
    assert changed(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "raw: {text_field: content}",
        "raw: {id_field: key}",
        "raw: {language_field: lang}",
        "raw: {max_line_bytes: 1000}",
        "fim: {fim_prefix_token: <P>}",
        "fim: {fim_middle_token: <M>}",
        "fim: {fim_suffix_token: <S>}",
    ],
)
def test_what_is_read_and_looked_for_changes_every_fingerprint(text: str) -> None:
    assert changed(text) == list(ALL)


@pytest.mark.parametrize(
    "text",
    [
        "seed: 1",
        "fim: {fim_rate: 0.9}",
        "fim: {psm_spm_split: 0.1}",
        "fim: {file_separator_token: <sep>}",
    ],
)
def test_draws_change_the_fingerprints_from_fim_on(text: str) -> None:
    assert changed(text) == ["fim_shards", "token_arrays", "corpus_report"]


@pytest.mark.parametrize(
    "text",
    [
        "tokens: {max_size: 1000}",
        "tokens: {dtype: uint16}",
        "tokens: {shuffle: false}",
        "tokens: {tokenizer: {bos_token_id: 1}}",
        "tokens: {tokenizer: {eos_token_id: 1}}",
        "tokens: {tokenizer: {pad_token_id: null}}",
        "tokens: {tokenizer: {segment_before_tokenization: true}}",
        "tokens: {allow_lossy: true}",
        "tokens: {layout: megatron}",
        "tokens: {layout: datatrove}",
        "tokens: {label_mask: middle}",
    ],
)
def test_token_settings_change_the_fingerprints_from_tokens_on(text: str) -> None:
    assert changed(text) == ["token_arrays", "corpus_report"]


def test_another_tokenizer_changes_the_fingerprints_from_tokens_on() -> None:
    assert changed("{}", tokenizer_hash="u") == ["token_arrays", "corpus_report"]


CONTEXTS = [
    *("context: {tokens: 8192}", "context: {tokens: 8193}"),
    *(f"context: {{tokens: {n}, longer: pieces}}" for n in (8192, 4096)),
    "context: {tokens: 8192, longer: pieces}\ntokens: {align: true}",
    "context: {tokens: 8192}\ntokens: {tokenizer: {bos_token_id: 1}}",
    "context: {tokens: 8192}\ntokens: {tokenizer: {segment_before_tokenization: true}}",
]


@pytest.mark.parametrize("text", CONTEXTS[:-3])
def test_a_context_changes_the_fingerprints_from_fim_on(text: str) -> None:
    assert changed(text) == ["fim_shards", "token_arrays", "corpus_report"]


def test_every_context_has_its_own_fingerprint_of_fim_shards() -> None:
    """BOS, paragraphs and the tokenizer decide which documents are too long, and how they are cut.

    Align halves pieces, and changes nothing in the FIM shard where documents stay unchanged.
    """
    recipes = [parse_recipe(text, "r") for text in CONTEXTS]
    found = [fingerprint(recipe, "fim_shards", "t") for recipe in recipes]
    found += [fingerprint(recipe, "fim_shards", "u") for recipe in recipes]
    assert len({*found, fingerprint(Recipe(), "fim_shards", "t")}) == 2 * len(CONTEXTS) + 1
    aligned = parse_recipe("context: {tokens: 8192}\ntokens: {align: true}", "r")
    assert fingerprint(aligned, "fim_shards", "t") == found[0]
    assert len({fingerprint(recipe, "raw_shards", "t") for recipe in recipes}) == 1


@pytest.mark.parametrize(
    "text", ["tokens: {max_size: 9999}", "tokens: {layout: megatron}", "tokens: {dtype: uint16}"]
)
def test_how_arrays_are_written_is_no_part_of_what_fits(text: str) -> None:
    with_context, plain = (
        parse_recipe(f"context: {{tokens: 99}}\n{more}", "r") for more in (text, "")
    )
    one, other = (fingerprint(recipe, "fim_shards", "t") for recipe in (with_context, plain))
    assert one == other


@pytest.mark.parametrize(
    ("text", "tokens", "piece_tokens"),
    [
        ("{}", None, None),
        ("context: {tokens: 99}", 99, None),
        ("context: {tokens: 99, longer: pieces}", 99, 99),
        ("context: {tokens: 99, longer: pieces}\ntokens: {align: true}", 99, 49),
        ("context: {tokens: 99}\ntokens: {align: true}", 99, None),
    ],
)
def test_the_most_ids_of_a_piece(text: str, tokens: int | None, piece_tokens: int | None) -> None:
    recipe = parse_recipe(text, "r")
    assert (recipe.context and recipe.context.tokens) == tokens
    assert recipe.piece_tokens == piece_tokens
    assert recipe.fim_needs_tokenizer == (tokens is not None)
    assert parse_recipe(recipe_yaml(recipe), "r") == recipe


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("context: {}", "context.tokens: "),
        ("context: {longer: pieces}", "context.tokens: "),
        ("context: {tokens: 63}", "context.tokens = 63: "),
        ("context: {tokens: 16777217}", "context.tokens = 16777217: "),
        ("context: {tokens: many}", 'context.tokens = "many": '),
        ("context: {tokens: 99, longer: drop}", 'context.longer = "drop": '),
        ("context: {tokens: 99, length: 1}", "context.length: unknown field; "),
        ("context: 8192", "context = 8192: must be a mapping of fields"),
        ("tokens: {align: true}", "tokens.align needs context.tokens"),
        ("tokens: {label_mask: text}", "tokens.label_mask = text would be true everywhere"),
        (
            "context: {tokens: 99}\ntokens: {label_mask: text}",
            "tokens.label_mask = text would be true everywhere",
        ),
        (
            "context: {tokens: 99}\ntokens: {align: pad}",
            'tokens: align = "pad": ',
        ),
    ],
)
def test_contexts_that_make_no_sense_are_refused(text: str, start: str) -> None:
    assert refusal(text).startswith(start)


@pytest.mark.parametrize("digits", [REVISION, REVISION[::-1], None])
def test_name_and_revision_are_in_no_fingerprint(digits: str | None) -> None:
    """The content of its files stands for a tokenizer, wherever they lie."""
    fields = {"eos_token_id": 1, "revision": digits}
    for name in ("allenai/dolma2-tokenizer", "my/copy/of/dolma2"):
        tokenizer = Tokenizer.model_validate(fields | {"name_or_path": name})
        found = fingerprint(Recipe(tokens=Tokens(tokenizer=tokenizer)), "token_arrays", "t")
        plain = Recipe(tokens=Tokens(tokenizer=Tokenizer(eos_token_id=1)))
        assert found == fingerprint(plain, "token_arrays", "t")


def test_every_law_has_its_own_fingerprint() -> None:
    recipes = [
        Recipe(),
        Recipe(raw=Raw(text_field="content")),
        Recipe(raw=Raw(id_field="key")),
        Recipe(fim=Fim(fim_rate=0.25)),
        Recipe(fim=Fim(psm_spm_split=0.25)),
        Recipe(tokens=Tokens(max_size=1)),
        Recipe(tokens=Tokens(tokenizer=Tokenizer(eos_token_id=1))),
        Recipe(tokens=Tokens(tokenizer=Tokenizer(bos_token_id=1))),
        Recipe(tokens=Tokens(tokenizer=Tokenizer(segment_before_tokenization=True))),
        Recipe(tokens=Tokens(allow_lossy=True)),
        Recipe(tokens=Tokens(layout="megatron")),
        Recipe(tokens=Tokens(layout="datatrove")),
        Recipe(tokens=Tokens(label_mask="middle")),
    ]
    assert len({fingerprint(recipe, "token_arrays", "t") for recipe in recipes}) == len(recipes)


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2", "fim: {fim_rate: 1, fim_rate: 0.5}"])
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"(seed|fim_rate) stands twice"):
        parse_recipe(text, "r")


@pytest.mark.parametrize(
    "fields",
    [
        {"id_field": "text"},
        {"language_field": "text"},
        {"id_field": "text.id"},
        {"text_field": "doc.body", "id_field": "doc"},
    ],
)
def test_a_field_that_stands_in_the_text_or_around_it_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="stand in one another"):
        Raw.model_validate(fields)
    assert Raw(text_field="doc.text", id_field="doc.text_id").id_field == "doc.text_id"
    assert Raw(text_field=r"doc\.text", id_field="doc").id_field == "doc"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("text", ("text",)),
        ("doc.text", ("doc", "text")),
        (r"doc\.text", ("doc.text",)),
        (r"a\.b.c\.d", ("a.b", "c.d")),
        (r"a\\.b", ("a\\", "b")),
        (r"a\b", (r"a\b",)),
        (r"\.", (".",)),
    ],
)
def test_a_fields_path_joins_names_by_dots_and_escapes_their_own(
    path: str, names: tuple[str, ...]
) -> None:
    assert field_names(path) == names
    assert field_names(field_path(names)) == names


@given(st.lists(st.text(alphabet=".\\ab\n", min_size=1), min_size=1))
def test_every_name_can_be_written_in_a_path(names: list[str]) -> None:
    path = field_path(names)
    assert field_names(path) == tuple(names)
    assert Raw(text_field=path, id_field="x", path_field="y", language_field="z")


@pytest.mark.parametrize(
    "text", ["? [a, b]\n: 1", "seed: 2024-13-45", "[" * 2000, "seed: " + "9" * 5001]
)
def test_yaml_that_python_cannot_hold_is_a_recipe_error(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(text, "r")


def test_half_a_surrogate_pair_and_huge_numbers_are_refused() -> None:
    for text in (
        'fim: {file_separator_token: "\\uD800"}',
        "tokens: {max_size: 9223372036854775808}",
    ):
        with pytest.raises(RecipeError):
            parse_recipe(text, "r")


def test_minus_zero_is_zero() -> None:
    minus, zero = (Recipe(fim=Fim(fim_rate=rate)) for rate in (-0.0, 0.0))
    assert fingerprint(minus, "fim_shards", "t") == fingerprint(zero, "fim_shards", "t")


@pytest.mark.parametrize("name", built_in_recipes())
def test_a_recipe_written_is_read_as_itself(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(recipe_yaml(recipe), name) == recipe
    assert built_in_name(recipe) == name
    other = recipe.model_copy(update={"seed": 5})
    assert built_in_name(other) is None
    assert parse_recipe(recipe_yaml(other), name) == other


def test_a_recipe_is_written_without_characters_that_act() -> None:
    fim = Fim.model_validate({"fim_rate": {"default": 0.5, "evil\u202e\u200b": 1, "Ünï": 0}})
    text = recipe_yaml(Recipe(fim=fim))
    assert text.replace("\n", "").isprintable()
    assert parse_recipe(text, "r").fim == fim
    assert "Ünï" in recipe_yaml(
        Recipe(fim=Fim.model_validate({"fim_rate": {"default": 0.5, "Ünï": 0}}))
    )
