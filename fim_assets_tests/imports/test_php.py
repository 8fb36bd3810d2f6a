"""PHP: paths, and names that files declare."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

SHOP = {
    "index.php": "<p><?php require __DIR__ . '/vendor/autoload.php';"
    " use Shop\\{Cart, Prices\\Euro as E}; use function Shop\\total, Shop\\none;"
    " use Other\\Thing; ?></p>",
    "src/Cart.php": "<?php\nnamespace Shop;\nuse Shop\\Prices\\Euro;\n"
    "final class Cart extends Base implements \\Countable, Named { use Prices\\Rounds; }\n",
    "src/Base.php": "<?php namespace shop; abstract class base {}",
    "src/Named.php": "<?php namespace Shop { interface Named {} }",
    "src/Prices/Euro.php": "<?php namespace Shop\\Prices; enum Euro: int {}",
    "src/Prices/Rounds.php": "<?php namespace Shop\\Prices;\ntrait Rounds {}",
    "src/functions.php": "<?php\nnamespace Shop;\nfunction total() {}\n",
}


def test_names_are_those_that_files_declare_in_any_case() -> None:
    assert edges(SHOP) == {
        "index.php": {"src/Cart.php", "src/Prices/Euro.php", "src/functions.php"},
        "src/Cart.php": {
            "src/Base.php",
            "src/Named.php",
            "src/Prices/Euro.php",
            "src/Prices/Rounds.php",
        },
    }
    assert unresolved(SHOP) == {"index.php": 3}
    assert order(SHOP)[-2:] == ["src/functions.php", "index.php"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("include 'x.php';", "a/x.php"),
        ("include_once('b/y.php');", "a/b/y.php"),
        ('require "top.php";', "top.php"),
        ('require_once __DIR__.("/x.php");', None),
        ('require_once(__DIR__ . "/../top.php");', "top.php"),
        ("require dirname(__FILE__) . '/x.php';", "a/x.php"),
        ("require dirname(__DIR__) . '/top.php';", "top.php"),
        ("require DIRNAME(dirname(__FILE__)).'/top.php';", "top.php"),
        ("function f() { if (1) { include './x.php'; } }", "a/x.php"),
        ("include $x . 'x.php';", None),
        ('include "$x.php";', None),
        ("include '../../x.php';", None),
        ("echo 'include x.php';", None),
        ("include '数据.php';", "数据.php"),
    ],
)
def test_forms_of_paths(text: str, expected: str | None) -> None:
    places = ("a/x.php", "a/b/y.php", "top.php", "数据.php")
    files = dict.fromkeys(places, "<?php\n") | {"a/main.php": f"<?php {text}"}
    assert edges(files) == ({"a/main.php": {expected}} if expected else {})


@pytest.mark.parametrize(
    "text",
    [
        "use N\\A;",
        "use \\N\\A as B;",
        "use X\\Y, N\\A;",
        "use N\\{X, A,};",
        "use N\\{function f, A};",
        "use /* c */ N\\A; // d",
        "use N as M; class B extends M\\A {}",
        "class B extends \\N\\A {}",
        "interface B extends \\N\\A {}",
        "namespace N; new class extends A {};",
        "namespace O { } namespace N { class B extends A {} }",
        "namespace O; class B extends namespace\\C {} class C extends \\n\\a {}",
    ],
)
def test_forms_of_names(text: str) -> None:
    files = {"a.php": "<?php namespace N; class A {}", "b.php": f"<?php {text}"}
    assert edges(files) == {"b.php": {"a.php"}}


def test_of_two_files_that_declare_a_name_the_nearest_is_meant() -> None:
    declared = "<?php class A {}"
    files = {"one/a.php": declared, "two/a.php": declared, "two/b/b.php": "<?php use A;"}
    assert edges(files) == {"two/b/b.php": {"two/a.php"}}
    assert edges(files | {"c.php": "<?php use A;"})["c.php"] == {"one/a.php"}


def test_a_function_or_constant_is_no_class() -> None:
    files = {"a.php": "<?php class A {}", "b.php": "<?php use function A; use const A;"}
    assert edges(files) == {}
    assert unresolved(files) == {"b.php": 2}
