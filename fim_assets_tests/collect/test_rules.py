"""Git's rules, held against Git itself."""

from pathlib import Path
from random import Random

import pytest

from fim_assets.collect.rules import attributes_of, read_attributes
from fim_assets.collect.walk import LINGUIST
from fim_assets_tests.collect.trees import checkout, git, paths_and_reasons

NAMES = ["a", "b", "ab", "a.b", "foo", "é", "x y", "b.c"]
GLOBS = [*NAMES, *NAMES, "*", "**", "a*", "*.b", "?", "[ab]", "*b*", "[!a]", "foo*", "??"]
GLOBS += ["a\\*", "\\a", "[]a]", "[a-", "\\"]


def pattern(random: Random) -> str:
    text = "/".join(random.choice(GLOBS) for _ in range(random.choice([1, 1, 1, 2, 2, 3])))
    if "[a-/" in text:
        return "a"  # for Git, a bracket may hold a slash
    text = random.choice(["", "", "", "/"]) + text + random.choice(["", "", "/"])
    text = random.choice(["", "", "!", "#", "\\#"]) + text if random.random() < 0.5 else text
    return text + random.choice(["", "", "", " ", "\r"])


def random_tree(random: Random) -> tuple[list[str], dict[str, str]]:
    """Folders, '' or with a slash behind, and files in them."""
    folders, files = [""], dict[str, str]()
    for _ in range(random.randrange(2, 9)):
        folder = random.choice(folders) + random.choice(NAMES) + "/"
        if folder not in folders:
            folders.append(folder)
    for folder in folders:
        names = [name for name in NAMES if f"{folder}{name}/" not in folders]
        files |= {f"{folder}{name}": "text" for name in random.sample(names, min(3, len(names)))}
    return folders, files


@pytest.mark.parametrize("seed", range(40))
def test_what_git_ignores_is_ignored(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    folders, files = random_tree(random)
    for folder in folders:
        if not folder or random.random() < 0.4:
            lines = [pattern(random) for _ in range(random.randrange(1, 6))]
            files[f"{folder}.gitignore"] = "\n".join(lines) + random.choice(["", "\n"])
    root = checkout(tmp_path / "tree", files)
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    judged = paths_and_reasons(root)
    assert set(judged) == set(files)
    assert {path for path, reason in judged.items() if reason != "ignored"} == set(
        filter(None, listed.decode().split("\0"))
    )


CLASSES = [
    "alnum",
    "alpha",
    "blank",
    "cntrl",
    "digit",
    "graph",
    "lower",
    "print",
    "punct",
    "space",
    "upper",
    "xdigit",
]


@pytest.mark.parametrize(
    "pattern", ["[[:{}:]]", "[![:{}:]]", "[é[:{}:]0]", "[:{}:]", "x[[:digit:][:{}:]]"]
)
def test_classes_of_characters_are_gits(tmp_path: Path, pattern: str) -> None:
    names = [chr(code) for code in range(1, 128) if chr(code) not in "\n./"]
    for name in CLASSES:
        files = dict.fromkeys([*names, *(f"x{character}" for character in names)], "text")
        rules = pattern.format(name)
        root = checkout(tmp_path / name, files | {".gitignore": rules})
        listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        kept = {path for path, reason in paths_and_reasons(root).items() if reason != "ignored"}
        assert kept == set(filter(None, listed.decode().split("\0"))), rules


VALUES = ["", "-", "!", "=true", "=false", "=Python", "=c++"]


@pytest.mark.parametrize("seed", range(40))
def test_attributes_are_those_that_git_reads(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    folders, files = random_tree(random)
    rules = {}
    for folder in folders:
        if not folder or random.random() < 0.4:
            lines = []
            for _ in range(random.randrange(1, 6)):
                name, value = random.choice([*LINGUIST, "text"]), random.choice(VALUES)
                said = value + name if value in {"-", "!"} else name + value
                of = pattern(random).strip().replace(" ", "?")
                quoted = '"' + of.replace("\\", "\\\\") + '"'
                lines.append(f"{random.choice([of, quoted])} {said}")
            rules[folder] = "\n".join(lines) + "\n"
    root = checkout(tmp_path / "tree", files | {f"{f}.gitattributes": t for f, t in rules.items()})
    names = sorted(LINGUIST)
    given = "\0".join(files).encode()
    answer = git(root, "check-attr", "-z", "--stdin", *names, given=given).decode().split("\0")
    read = {
        folder: read_attributes(text.encode(), folder.encode(), LINGUIST)
        for folder, text in rules.items()
    }
    for path, name, value in zip(answer[::3], answer[1::3], answer[2::3], strict=False):
        above = [read[folder] for folder in sorted(read) if path.startswith(folder)]
        mine = attributes_of(path.encode(), above).get(name)
        shown = {True: "set", False: "unset", None: "unspecified"}
        assert (mine if isinstance(mine, str) else shown[mine]) == value, (path, name, rules)
