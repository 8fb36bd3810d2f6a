"""C and C++: headers beside a file, on the paths that compilers are given, and anywhere."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

PROGRAM = {
    "src/main.c": '#include <stdio.h>\n#include "utils.h"\n#if X\n# include "config.h"\n#endif\n',
    "src/utils.c": '#include "utils.h"\n',
    "src/utils.h": '#include <lib/helpers.h>\n#include "../src/utils.h"\n',
    "include/lib/helpers.h": '#pragma once\n#include "types.h"\n',
    "include/lib/types.h": "typedef int t;\n",
    "include/config.h": "",
    "test/main.cpp": 'extern "C" {\n#include "../src/utils.h"\n}\n#include <vector>\n',
}


def test_a_program() -> None:
    assert edges(PROGRAM) == {
        "src/main.c": {"src/utils.h", "include/config.h"},
        "src/utils.c": {"src/utils.h"},
        "src/utils.h": {"include/lib/helpers.h"},
        "include/lib/helpers.h": {"include/lib/types.h"},
        "test/main.cpp": {"src/utils.h"},
    }
    assert unresolved(PROGRAM) == {"src/main.c": 1, "test/main.cpp": 1}
    assert order(PROGRAM) == [
        "include/config.h",
        "include/lib/types.h",
        "include/lib/helpers.h",
        "src/utils.h",
        "src/main.c",
        "src/utils.c",
        "test/main.cpp",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('#include "a.h"', "x/y/a.h"),
        ('#include "../a.h"', "x/a.h"),
        ('#include "./a.h"', "x/y/a.h"),
        ("#include <a.h>", "x/y/a.h"),
        ('#include "b.h"', "x/include/b.h"),
        ('  #  include   "b.h" // b', "x/include/b.h"),
        ('#include "deep\\b.h"', "x/far/deep/b.h"),
        ('#include "no/..//deep/b.h"', "x/far/deep/b.h"),
        ("#include <far/deep/b.h>", "x/far/deep/b.h"),
        ("#include <deep/b.h>", "x/far/deep/b.h"),
        ('#include "../../../far/deep/b.h"', "x/far/deep/b.h"),
        ("#include <c.h>", "x/far/c.h"),
        ('#include "数据.hpp"', "x/数据.hpp"),
        ("#include <time.h>", None),
        ('#include "time.h"', "x/far/time.h"),
        ("#include <errno.h>", "x/include/errno.h"),
        ("#include <eep/b.h>", None),
        ("#include NAME", None),
        ('// #include "a.h"', None),
        ('char *s = "#include <a.h>";', None),
    ],
)
def test_forms_of_includes(text: str, expected: str | None) -> None:
    paths = ("y/a.h", "a.h", "include/b.h", "include/errno.h", "far/deep/b.h", "far/c.h")
    files = dict.fromkeys([f"x/{path}" for path in (*paths, "far/time.h", "数据.hpp")], "int i;")
    assert edges(files | {"x/y/m.cc": text}) == ({"x/y/m.cc": {expected}} if expected else {})


def test_of_two_headers_of_one_name_the_nearest_is_meant() -> None:
    files = {
        "one/lib/api.h": "",
        "one/app/main.c": '#include "api.h"',
        "two/lib/api.h": "",
        "two/app/main.c": "#include <api.h>",
        "three/main.c": '#include "lib/api.h"',
    }
    assert edges(files) == {
        "one/app/main.c": {"one/lib/api.h"},
        "two/app/main.c": {"two/lib/api.h"},
        "three/main.c": {"one/lib/api.h"},
    }


def test_headers_that_include_each_other_are_a_cycle() -> None:
    files = {"a.h": '#include "b.h"', "b.h": '#include "a.h"', "c.c": '#include "b.h"'}
    assert edges(files) == {"a.h": {"b.h"}, "b.h": {"a.h"}, "c.c": {"b.h"}}
    assert order(files) == ["a.h", "b.h", "c.c"]
