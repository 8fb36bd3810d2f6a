"""Java: types by package and name, imported or of the file's own package."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

MAIN = "src/main/java/org/shop"
SHOP = {
    f"{MAIN}/Main.java": "package org.shop;\nimport org.shop.util.*;\nimport java.util.List;\n"
    "class Main { Config c = Config.read(); List<Utils> l; /* Unused Helpers */ }\n",
    f"{MAIN}/Config.java": 'package org.shop;\n/** {@link Main} */\nclass Config { "Main"; }\n',
    f"{MAIN}/util/Utils.java": "package org.shop.util;\n"
    "import static org.shop.util.Helpers.help;\npublic class Utils { int n = help(); }\n",
    f"{MAIN}/util/Helpers.java": "package org.shop.util;\npublic class Helpers {}\n",
    f"{MAIN}/util/Unused.java": "package org.shop.util;\npublic class Unused {}\n",
    "src/test/java/org/shop/MainTest.java": "package org.shop;\n@Test class MainTest { Main m; }",
}


def test_a_program_of_two_packages() -> None:
    assert edges(SHOP) == {
        f"{MAIN}/Main.java": {f"{MAIN}/Config.java", f"{MAIN}/util/Utils.java"},
        f"{MAIN}/util/Utils.java": {f"{MAIN}/util/Helpers.java"},
        "src/test/java/org/shop/MainTest.java": {f"{MAIN}/Main.java"},
    }
    assert unresolved(SHOP) == {f"{MAIN}/Main.java": 1}
    names = ["Config", "util/Helpers", "util/Utils", "Main"]
    assert order(SHOP)[:4] == [f"{MAIN}/{name}.java" for name in names]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b.C;", {"C"}),
        ("import a.b.C.Inner;", {"C"}),
        ("import static a.b.C.*;", {"C"}),
        ("import static a . b . C . m ;", {"C"}),
        ("import a.b.C.*;", {"C"}),
        ("import a.b.*; class A { C c; }", {"C"}),
        ("import a.b.*; class A { Object o = C::new; D.E d; }", {"C", "D"}),
        ("import a.b.*; @D class A { int n = C.N; }", {"C", "D"}),
        ('import a.b.*; class A { String s = "C"; char c = \'"\'; String t = """\nD"""; }', set()),
        ("import a.b.*; class A { // C\n }", set()),
        ("import a.b.*; class A { C c; } /* D", {"C"}),
        ("import a.b.*; class A { 数据 x; }", {"数据"}),
        ("import a.*; import b.C; class A {}", set()),
        ("class A { C c; }", set()),
        ("package a.b; class A { C c; D d; }", {"C", "D"}),
        ("package a.b; import x.C; class A { C c; D d; }", {"D"}),
        ("package a.b; class A { A a; }", set()),
        ("/* package a.b; */ class A { C c; }", set()),
    ],
)
def test_forms_of_imports(text: str, expected: set[str]) -> None:
    files = {f"a/b/{name}.java": f"package a.b; class {name} {{}}" for name in ("C", "D", "数据")}
    found = edges(files | {"other/A.java": text})
    assert found == (
        {"other/A.java": {f"a/b/{name}.java" for name in expected}} if expected else {}
    )


def test_files_of_no_package_use_those_of_their_folder() -> None:
    files = {
        "1/A.java": "class A { B b; C c; }",
        "1/B.java": "class B {}",
        "2/C.java": "class C {}",
    }
    assert edges(files) == {"1/A.java": {"1/B.java"}}


def test_of_two_types_of_one_name_the_nearest_is_meant_and_packages_are_not_folders() -> None:
    files = {
        "one/T.java": "package p; class T {}",
        "one/q/A.java": "package q; import p.T; class A {}",
        "two/T.java": "package p; class T {}",
        "two/B.java": "package p; class B { T t; }",
    }
    assert edges(files) == {"one/q/A.java": {"one/T.java"}, "two/B.java": {"two/T.java"}}
