"""Documents in pieces: where they are cut, and that nothing of them is lost."""

import tracemalloc
from itertools import combinations, groupby, pairwise

import numpy as np
import orjson
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.cuts.files import Around
from fim_assets.draws import document_keys, piece_keys
from fim_assets.fim_shards.fitting import Fitting
from fim_assets.fim_shards.pieces import Division, PieceText, divide_text, even_bounds
from fim_assets.fim_shards.record import DocumentPiece
from fim_assets.fim_shards.segments import unchanged_file
from fim_assets.fim_shards.transform import DocumentError, transform_block
from fim_assets.raw_shards.shard_reader import Documents
from fim_assets.recipe import Recipe
from fim_assets.tokenizer.contents import encode_runs
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.fim_shards.both_stages import Made, make, texts_of
from fim_assets_tests.fim_shards.recipes_in_context import NAMES, in_context, recipe_named
from fim_assets_tests.token_arrays.letters import letters_recipe

# Even bounds.


@pytest.mark.parametrize(
    ("edges", "room", "expected"),
    [
        ([0, 4, 5, 9, 14, 20], 12, [0, 3, 5]),
        ([0, 4, 5, 9, 14, 20], 20, [0, 5]),
        ([0, 4, 5, 9, 14, 20], 19, [0, 3, 5]),
        ([0, 4, 5, 9, 14, 20], 10, [0, 2, 4, 5]),
        ([7, 11, 12, 16, 21, 27], 12, [0, 3, 5]),
        ([0, 1], 1, [0, 1]),
        ([0, 6, 12, 18], 6, [0, 1, 2, 3]),
        # Both as close to the middle: the one behind.
        ([0, 4, 6, 10], 9, [0, 2, 3]),
        # Two pieces are enough, however uneven: 9 and 1.
        ([0, 9, 10], 9, [0, 1, 2]),
        # 30 in four: at 6, then at 12, since 18 is too far from 6, and at 22.
        ([0, 6, 12, *range(18, 31)], 10, [0, 1, 2, 7, 15]),
        # 30 in three: at 10 and 20, though each number up to 10 is an edge.
        ([*range(11), 20, 30], 10, [0, 10, 11, 12]),
        # A step that is larger than the room stands alone.
        ([0, 3, 30, 33], 10, [0, 1, 2, 3]),
        ([0, 0, 5, 5, 10], 5, [0, 2, 4]),
    ],
)
def test_even_bounds_by_hand(edges: list[int], room: int, expected: list[int]) -> None:
    assert even_bounds(np.array(edges), room).tolist() == expected


def fewest(edges: list[int], room: int) -> int:
    """The fewest pieces, by trying all cuts."""
    inner = range(1, len(edges) - 1)
    return next(
        cuts + 1
        for cuts in range(len(edges))
        for chosen in combinations(inner, cuts)
        if max(edges[b] - edges[a] for a, b in pairwise([0, *chosen, len(edges) - 1])) <= room
    )


@given(st.lists(st.integers(0, 12), min_size=1, max_size=11), st.integers(0, 30))
@settings(max_examples=300)
def test_bounds_are_as_few_as_can_be(steps: list[int], more: int) -> None:
    edges, room = np.cumsum([5, *steps]), max(*steps, 1) + more
    bounds = even_bounds(edges, room)
    assert (bounds[0], bounds[-1]) == (0, len(steps))
    assert (np.diff(bounds) > 0).all()
    assert np.diff(edges[bounds]).max() <= room
    assert len(bounds) - 1 == fewest(edges.tolist(), room)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=300), st.integers(0, 300))
@settings(max_examples=300)
def test_sizes_are_even_but_for_two_steps(steps: list[int], more: int) -> None:
    edges, room = np.cumsum([0, *steps]), max(steps) + more
    sizes = np.diff(edges[even_bounds(edges, room)])
    assert sizes.max() <= room
    assert sizes.max() - sizes.min() <= 2 * max(steps)


# Texts in pieces.


def fitting_of(recipe: Recipe, tokens: int) -> Fitting:
    return Fitting(recipe, load_tokenizer(recipe), tokens)


def divided(text: str, room: int, recipe: Recipe | None = None) -> list[str]:
    """A text in pieces of so many ids of `letters`, where letters are ids."""
    fitting = fitting_of(recipe or letters_recipe(), 64)
    fim, controls = fitting.recipe.fim, fitting.tokenizer.controls
    run = [one.content for one in unchanged_file(text, Around(), fim, controls, joined=False)]
    [rows] = encode_runs([run], fitting.tokenizer)
    return divide_text(text, np.concatenate(rows), room, fitting)


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("xxxx\nyyyy\nzzzz\n", 10, ["xxxx\n", "yyyy\nzzzz\n"]),
        ("xxxx\nyyyy\nzzzz\nwwww", 10, ["xxxx\nyyyy\n", "zzzz\nwwww"]),
        ("\n\n\n\n", 2, ["\n\n", "\n\n"]),
        # Windows' line feeds belong to the line before.
        ("xxx\r\nyyy\r\n", 5, ["xxx\r\n", "yyy\r\n"]),
        # A line that is too long is cut, the others are not.
        ("xx\nyyyyyyyyyyyy\nzz\n", 8, ["xx\nyyy", "yyyyyy", "yyy\nzz\n"]),
        ("xxxxxxxxxx", 4, ["xxx", "xxx", "xxxx"]),
        # `ab` is one id, so that these are ten; no cut is inside of one.
        ("ababababababababxx", 5, ["ababababab", "abababxx"]),
        # Not in a code point of three ids: the piece behind may have a few too many.
        ("日本語", 5, ["日", "本語"]),
        # Nor between a letter and its accent.
        ("e\u0301e\u0301e\u0301", 4, ["e\u0301", "e\u0301", "e\u0301"]),
        # A grapheme of more bytes than the room is cut between code points.
        ("e\u0301\u0301\u0301\u0301", 4, ["e\u0301", "\u0301", "\u0301\u0301"]),
        # Nor in a repository token, whose six bytes are one id.
        ("xxx<repo>xxx", 4, ["xxx", "<repo>xxx"]),
        ("xxx<repo>xxx", 3, ["xx", "x<repo>", "xxx"]),
    ],
)
def test_a_text_is_divided_by_hand(text: str, room: int, expected: list[str]) -> None:
    assert divided(text, room) == expected


def pieces_of(files: list[str], tokens: int, recipe: Recipe | None = None) -> list[PieceText]:
    """The first division of files of letters; with three sentinels and four to spare in each."""
    fitting = fitting_of(recipe or letters_recipe(), tokens)
    ids = [np.frombuffer(file.encode(), np.uint8).astype(np.uint32) for file in files]
    leads = ["", *["<sep>"] * (len(files) - 1)]
    return Division(files, leads, ids, fitting).pieces()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        # A room of 63 ids: files of 12 take 12 + 3 + 4 + 1, three at most, two and two are even.
        ([12] * 4, [(0, 1), (2, 3)]),
        ([12] * 3, [(0, 1, 2)]),
        ([12] * 7, [(0, 1), (2, 3, 4), (5, 6)]),
        # A file that is too long is divided, what is around it is not.
        ([12, 100, 12, 12], [(0,), 50, 50, (2, 3)]),
        ([100, 12], [50, 50, (1,)]),
        # An empty file goes with another.
        ([12, 40, 0, 12, 0], [(0,), (1,), (2, 3, 4)]),
        ([0, 100, 0], [(50), 50]),
        ([0, 0, 0], [(0, 1, 2)]),
    ],
)
def test_a_document_is_divided_at_files_by_hand(
    sizes: list[int], expected: list[tuple[int, ...] | int]
) -> None:
    """A tuple is files together, a number the letters of a piece of a file."""
    files = ["abcdefgh"[number] * size for number, size in enumerate(sizes)]
    found: list[tuple[int, ...] | int] = []
    at = 0
    for text, continued, _ in pieces_of(files, 64):
        inside = text.split("<sep>")
        letters = [file for file in inside if file]
        if len(letters) == 1 and len(letters[0]) < sizes["abcdefgh".index(letters[0][0])]:
            found.append(len(letters[0]))
            assert continued == (found[-2:] == [50, 50])
        else:
            found.append(tuple(range(at, at + len(inside))))
            assert not continued
        at += 0 if continued else len(inside)
    assert found == expected


def test_empty_files_alone_stay_together() -> None:
    # Three files of no letter, for each of which three sentinels and four ids are kept: over 18.
    recipe = in_context(letters_recipe(), 64)
    assert pieces_of(["abc", "", "", "", "", ""], 20, recipe) == [
        PieceText("abc", continued=False),
        PieceText("<sep>", continued=False),
        PieceText("<sep><sep>", continued=False),
    ]


def test_a_division_is_finer_each_time() -> None:
    recipe = letters_recipe()
    text = "x" * 1000
    division = Division([text], [""], [np.full(1000, ord("x"), np.uint32)], fitting_of(recipe, 64))
    # 64 less EOS, three sentinels and four to spare; then 4, 8, 16 less, then half, down to one.
    for most in (56, 52, 44, 28, 14, 7, 3, 1):
        pieces = division.pieces()
        assert "".join(piece.text for piece in pieces) == text
        assert [piece.continued for piece in pieces] == [False] + [True] * (len(pieces) - 1)
        assert len(pieces) == -(-len(text) // most)
    with pytest.raises(ValueError, match="does not fit in 64 tokens"):
        division.pieces()


# Documents in pieces.


def joined(pieces: list[Made], recipe: Recipe) -> str:
    separator = recipe.fim.file_separator_token or ""
    return "".join(
        its.original if its.piece.continued or its.piece.piece == 0 else separator + its.original
        for its in pieces
    )


def by_document(made: list[Made]) -> list[list[Made]]:
    return [[*group] for _, group in groupby(made, lambda its: its.rows[0]["line"])]


def without_pieces(made: Made) -> Made:
    rows = [{n: v for n, v in row.items() if n not in DocumentPiece._fields} for row in made.rows]
    return made._replace(rows=rows)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=12)
def test_pieces_fit_both_ways_and_are_the_document(name: str, data: st.DataObject) -> None:
    recipe = recipe_named(name)
    more = [recipe.fim.file_separator_token or "\n", *recipe.fim.repository_tokens]
    texts = data.draw(st.lists(texts_of(*more), min_size=1, max_size=4))
    tokens = data.draw(st.sampled_from([64, 100, 300]))
    never = recipe.model_copy(update={"fim": recipe.fim.model_copy(update={"fim_rate": 0.0})})
    drawn, came = (make(texts, in_context(law, tokens, "pieces")) for law in (recipe, never))
    assert [its.original for its in drawn] == [its.original for its in came]
    assert all(its.ids <= tokens for its in [*drawn, *came])
    assert all(its.original for its in drawn)
    keys = document_keys(7, [f"{n}" for n in range(len(texts))], texts)
    whole = zip(make(texts, recipe), make(texts, never), strict=True)
    documents = by_document(drawn)
    assert len(documents) == len(texts)
    for text, key, pieces, ways in zip(texts, keys, documents, whole, strict=True):
        assert joined(pieces, recipe) == text
        count = len(pieces)
        assert [its.piece[:2] for its in pieces] == [(number, count) for number in range(count)]
        own = piece_keys(np.repeat(key, count), np.arange(count)) if count > 1 else [key]
        assert [its.rows[0]["draw_key"] for its in pieces] == list(own)
        if count == 1:
            assert without_pieces(pieces[0]) == ways[0]
        else:
            files = len(ways[0].rows)
            assert files > 1 or max(its.ids for its in ways) > tokens


@pytest.mark.parametrize("name", ["letters", "dolma2"])
@given(data=st.data())
@settings(max_examples=40)
def test_no_grapheme_is_cut_that_is_short(name: str, data: st.DataObject) -> None:
    """In one line; line feeds alone end graphemes anyway."""
    recipe = in_context(recipe_named(name), 64, "pieces")
    kinds = st.tuples(
        st.sampled_from(["👩\u200d👩\u200d👧", "e\u0301", "ab", " ", "🇩🇪"]), st.integers(1, 30)
    )
    text = "".join(kind * times for kind, times in data.draw(st.lists(kinds, min_size=4)))
    ends = np.cumsum([len(grapheme) for grapheme in regex.findall(r"\X", text)])
    cuts = np.cumsum([len(its.original) for its in make([text], recipe)])
    assert set(cuts.tolist()) <= set(ends.tolist())


@pytest.mark.parametrize("before", ["", "x", "\n", "\U0001f1e9"])
def test_no_flag_is_cut_in_any_number_of_them(before: str) -> None:
    """Flags are pairs of one kind of code point, of which only the first says which are pairs."""
    recipe = in_context(letters_recipe(), 64, "pieces")
    text = before + "\U0001f1e9\U0001f1ea" * 500
    ends = np.cumsum([len(grapheme) for grapheme in regex.findall(r"\X", text)])
    cuts = np.cumsum([len(its.original) for its in make([text], recipe)])
    assert set(cuts.tolist()) <= set(ends.tolist())


def test_copies_of_a_document_get_equal_pieces_wherever_they_stand() -> None:
    recipe = in_context(letters_recipe(), 64, "pieces")
    texts = ["abc\n" * 99, "short", "<sep>".join(["abc\n" * 40, "ab\n" * 5])]
    one, _, other = by_document(make(texts, recipe))
    other_again, one_again = (
        by_document(make([texts[2], "another" * 50, texts[0]], recipe))[n] for n in (0, 2)
    )
    for these, those in ((one, one_again), (other, other_again)):
        assert [its.original for its in these] == [its.original for its in those]
        assert [its.ids for its in these] != []


def test_what_cannot_be_cut_and_does_not_fit_is_refused_by_its_line() -> None:
    """A repository token without an id is text that is not cut: a hundred letters."""
    token = "R" * 100
    recipe = in_context(letters_recipe({"repository_tokens": [token]}), 64, "pieces")
    with pytest.raises(DocumentError, match="a part of it does not fit in 64 tokens") as raised:
        make(["short", f"{token}name<sep>file"], recipe)
    assert raised.value.line == 2
    assert raised.value.why.startswith("(id '")
    assert "context.tokens" in raised.value.why
    made = make(["short", f"{token}name<sep>file"], in_context(recipe, 104, "pieces"))
    assert [its.original for its in made] == ["short", token, "name", "file"]


def test_aligned_pieces_take_half_a_sequence_and_whole_documents_all_of_it() -> None:
    recipe = letters_recipe(tokens={"align": True}, context={"tokens": 128, "longer": "pieces"})
    texts = ["x" * 124, "x" * 125, ("e" + "\u0301" * 30) * 9]
    whole, *divided = by_document(make(texts, recipe))
    assert [its.ids for its in whole] == [128]
    for text, pieces in zip(texts[1:], divided, strict=True):
        assert joined(pieces, recipe) == text
        assert max(its.ids for its in pieces) <= 64


@pytest.mark.parametrize("rate", [1.0, 0.001])
def test_whether_a_document_is_divided_does_not_depend_on_the_gate(rate: float) -> None:
    """Unchanged these have 64 ids, and rearranged 67: pieces are drawn anew, and so must fit."""
    fim = {"document_rate": rate}
    recipe = letters_recipe(fim, context={"tokens": 64, "longer": "pieces"})
    made = make(["x" * 63] * 9, recipe)
    assert [len(its.original) for its in made] == [31, 32] * 9
    assert {reason for its in made for reason in its.reasons} == {None if rate == 1 else "gate"}


def test_accents_without_a_letter_are_cut_between_code_points() -> None:
    """One grapheme of a thousand bytes, and graphemes that are nearly as large as a piece."""
    recipe = in_context(letters_recipe(), 64, "pieces")
    for text in ("\u0301" * 500, ("e" + "\u0301" * 30) * 9, ("e" + "\u0301" * 99) * 9):
        made = make([text], recipe)
        assert joined(made, recipe) == text
        assert all(its.ids <= 64 for its in made)


def test_starts_of_lines_are_held_as_numbers() -> None:
    """Of 300,000 empty lines and a long one, which took 113 bytes a line in a set."""
    fitting, text = fitting_of(letters_recipe(), 64), "\n" * 300_000 + "x" * 9000
    [[ids]] = encode_runs([[text]], fitting.tokenizer)
    tracemalloc.start()
    pieces = divide_text(text, ids, 8000, fitting)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "".join(pieces) == text
    assert peak < 70 * len(text)


def test_a_line_is_not_held_once_for_each_of_its_pieces() -> None:
    """The line of a document in some 140 pieces has 100,000 bytes besides its text."""
    recipe = in_context(letters_recipe(), 64, "pieces")
    text = "abc\n" * 2500
    line = orjson.dumps({"text": text, "other": "x" * 100_000})
    block = Documents([1], [line], ["a"], [text], [None], [None])
    tokenizer = load_tokenizer(recipe)
    tracemalloc.start()
    lines = sum(1 for _ in transform_block(block, 7, recipe, tokenizer).lines)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines > 130
    assert peak < 5_000_000
