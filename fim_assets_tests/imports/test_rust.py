"""Rust: trees of modules, crates of a workspace, and modules written in a file."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

WORKSPACE = {
    "Cargo.toml": '[workspace]\nmembers = ["shop", "till"]\n',
    "shop/Cargo.toml": '[package]\nname = "the-shop"\n',
    "shop/src/lib.rs": 'mod carts;\npub mod prices;\n#[path = "odd/stock.rs"]\n#[cfg(unix)]\n'
    'mod store;\nuse std::io;\ninclude!("made.rs");\n',
    "shop/src/carts.rs": "mod cart;\nuse crate::prices::euro::{Euro as E, cents::*};\n"
    "use self::cart::C;",
    "shop/src/carts/cart.rs": "use super::super::prices;\nuse crate::Shop;\n",
    "shop/src/prices/mod.rs": "pub mod euro;\nuse self::euro::Euro;\n",
    "shop/src/prices/euro.rs": "mod tests {\n    use super::*;\n    use super::super::Price;\n}\n",
    "shop/src/odd/stock.rs": "",
    "shop/src/made.rs": "",
    "shop/tests/buy.rs": "mod common;\nuse the_shop::carts::Cart;\n",
    "shop/tests/common/mod.rs": "use crate::missing;\n",
    "till/src/main.rs": "extern crate the_shop;\nmod keys;\nuse till_keys::K;\n"
    "fn f() { use keys::Key; }\n",
    "till/src/keys.rs": "use crate::Till;\nuse the_shop::prices::euro as e;\n",
    "till/src/bin/open.rs": "use till::keys::Key;\nuse crate::own;\n",
}


def test_a_workspace_of_two_crates() -> None:
    src = "shop/src"
    assert edges(WORKSPACE) == {
        f"{src}/lib.rs": {
            f"{src}/carts.rs",
            f"{src}/prices/mod.rs",
            f"{src}/odd/stock.rs",
            f"{src}/made.rs",
        },
        f"{src}/carts.rs": {f"{src}/carts/cart.rs", f"{src}/prices/euro.rs"},
        f"{src}/carts/cart.rs": {f"{src}/prices/mod.rs", f"{src}/lib.rs"},
        f"{src}/prices/mod.rs": {f"{src}/prices/euro.rs"},
        f"{src}/prices/euro.rs": {f"{src}/prices/mod.rs"},
        "shop/tests/buy.rs": {"shop/tests/common/mod.rs", f"{src}/carts.rs"},
        "till/src/main.rs": {f"{src}/lib.rs", "till/src/keys.rs"},
        "till/src/keys.rs": {"till/src/main.rs", f"{src}/prices/euro.rs"},
        "till/src/bin/open.rs": {"till/src/keys.rs"},
    }
    assert unresolved(WORKSPACE) == {f"{src}/lib.rs": 1, "till/src/main.rs": 1}


def test_modules_come_before_what_names_them() -> None:
    files = {
        "src/main.rs": "mod utils;\nmod config;\n",
        "src/utils.rs": "mod helpers;\n",
        "src/utils/helpers.rs": "",
        "src/config.rs": "",
    }
    assert order(files) == [
        "src/config.rs",
        "src/utils/helpers.rs",
        "src/utils.rs",
        "src/main.rs",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use a;", {"a.rs"}),
        ("use ::a::b::C;", {"a/b.rs"}),
        ("use a::{self, b::{self as x, C}, /* d */ e::F};", {"a.rs", "a/b.rs", "a/e/mod.rs"}),
        ("use {a::b, a::e};", {"a/b.rs", "a/e/mod.rs"}),
        ("use a::b::*; // x", {"a/b.rs"}),
        ("pub(crate) use self::a::{\n  b as c, // d\n};", {"a/b.rs"}),
        ("use r#type::X;", {"type.rs"}),
        ("use 数据::X;", {"数据.rs"}),
        (
            "mod inner { mod c; use self::d::E; use super::a; }",
            {"inner/c.rs", "inner/d.rs", "a.rs"},
        ),
        ("mod inner { mod deep { use super::super::a; use super::d; } }", {"a.rs", "inner/d.rs"}),
        ("use super::a;", set()),
        ("use std::a;", set()),
        ('include!(concat!("a", ".rs"));', set()),
        ('include_str!("a.rs");', set()),
        ("mod a { } mod missing;", set()),
    ],
)
def test_forms_of_paths(text: str, expected: set[str]) -> None:
    places = ("a.rs", "a/b.rs", "a/e/mod.rs", "type.rs", "数据.rs", "inner/c.rs", "inner/d.rs")
    files = dict.fromkeys((f"src/{place}" for place in places), "") | {"src/lib.rs": text}
    assert edges(files).get("src/lib.rs", set()) == {f"src/{place}" for place in expected}


def test_of_two_crates_of_one_name_the_nearest_is_meant() -> None:
    files = {
        f"{name}/{crate}/src/{file}.rs": text
        for name in ("one", "two")
        for crate, file, text in (("lib-a", "lib", ""), ("app", "main", "use lib_a::X;"))
    }
    assert edges(files | {"main.rs": "use lib_a::X;"}) == {
        "one/app/src/main.rs": {"one/lib-a/src/lib.rs"},
        "two/app/src/main.rs": {"two/lib-a/src/lib.rs"},
        "main.rs": {"one/lib-a/src/lib.rs"},
    }


@pytest.mark.parametrize(
    "cargo",
    [
        '[package]\nname = "x"\n[lib]\nname = "lib_b"\npath = "code/root.rs"',
        '[package]\nname = "lib-b"\n[lib]\npath = "code/lib.rs"',
    ],
)
def test_a_library_has_the_name_and_the_root_of_its_cargo_toml(cargo: str) -> None:
    files = {"a/Cargo.toml": cargo, "a/code/b.rs": "", "c.rs": "use lib_b::b::B;"}
    assert edges(files) == {"c.rs": {"a/code/b.rs"}}


@pytest.mark.parametrize(
    "cargo", ["[", "", "package = 1", "[package]", "lib = 1", "[package]\nname = 1"]
)
def test_a_cargo_toml_that_is_none_costs_nothing(cargo: str) -> None:
    assert edges({"Cargo.toml": cargo, "src/lib.rs": "mod a;", "src/a.rs": ""}) == {
        "src/lib.rs": {"src/a.rs"}
    }
