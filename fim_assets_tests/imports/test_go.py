"""Go: packages of several files, modules, and repositories without a `go.mod`."""

from fim_assets_tests.imports.trees import edges, order, unresolved

MODULE = {
    "go.mod": "// a shop\nmodule example.com/shop\n\ngo 1.24\n",
    "main.go": 'package main\n\nimport (\n\t"fmt"\n\tp "example.com/shop/prices"\n'
    '\t"example.com/shop"\n\t_ "github.com/x/y"\n\t"github.com/x/z"\n)\n',
    "shop.go": "package shop\n\nimport `example.com/shop/internal/数据`\n",
    "prices/euro.go": "package prices\n",
    "prices/dollar.go": 'package prices\n\nimport . "example.com/shop/prices"\n',
    "prices/dollar_test.go": 'package prices_test\n\nimport "example.com/shop/prices"\n',
    "prices/generate.go": "//go:build ignore\n\npackage main\n",
    "internal/数据/a.go": "package 数据\n",
    "vendor/github.com/x/y/y.go": "package y\n",
}


def test_a_module_whose_packages_have_several_files() -> None:
    prices = {"prices/euro.go", "prices/dollar.go"}
    assert edges(MODULE) == {
        "main.go": {*prices, "shop.go", "vendor/github.com/x/y/y.go"},
        "shop.go": {"internal/数据/a.go"},
        "prices/dollar.go": {"prices/euro.go"},
        "prices/dollar_test.go": prices,
    }
    assert unresolved(MODULE) == {"main.go": 2}
    assert order(MODULE) == [
        "go.mod",
        "internal/数据/a.go",
        "prices/euro.go",
        "prices/dollar.go",
        "prices/dollar_test.go",
        "shop.go",
        "vendor/github.com/x/y/y.go",
        "main.go",
        "prices/generate.go",
    ]


def test_of_two_modules_of_one_path_the_nearest_is_meant_and_the_longest_path_first() -> None:
    importing = 'package main\nimport "m.org/a/b"\n'
    files = {
        "one/go.mod": "module m.org/a",
        "one/b/b.go": "package b",
        "one/cmd/main.go": importing,
        "two/go.mod": 'module "m.org/a"',
        "two/b/b.go": "package b",
        "two/cmd/main.go": importing,
        "three/go.mod": "module m.org/a/b",
        "cmd/main.go": importing,
    }
    assert edges(files) == {
        "one/cmd/main.go": {"one/b/b.go"},
        "two/cmd/main.go": {"two/b/b.go"},
        "cmd/main.go": {"one/b/b.go"},
    }
    whole = files | {"three/b.go": "package b"}
    assert {*map(frozenset, edges(whole).values())} == {frozenset({"three/b.go"})}


def test_without_a_module_the_root_is_what_most_imports_say() -> None:
    """Of `m.org/a/x`, `m.org/a/log` and `o.org/log`, two say that the root is `m.org/a`."""
    files = {
        "main.go": 'package main\nimport "m.org/a/x"\nimport "m.org/a/log"\nimport "o.org/log"\n'
        'import "encoding/json"\nimport "own/deep"\nimport "../up"\nimport "./x"\n',
        "x/x.go": "package x",
        "log/log.go": "package log",
        "json/json.go": "package json",
        "src/own/deep/d.go": "package deep",
    }
    assert edges(files) == {"main.go": {"x/x.go", "log/log.go", "src/own/deep/d.go"}}
    assert unresolved(files) == {"main.go": 3}


def test_a_path_says_nothing_of_the_root_unless_a_folder_stands_behind_it() -> None:
    assert edges({"a.go": 'package a\nimport "m.org/x"\n', "b.go": "package a"}) == {}
