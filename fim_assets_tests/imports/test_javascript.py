"""JavaScript and TypeScript: paths, endings, folders, packages of a repository, `tsconfig.json`."""

import random

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

APP = {
    "package.json": '{"name": "app", "main": "src/main.ts"}',
    "src/main.ts": "import { u } from './utils';\nimport * as c from './config.js';\nu(c);\n",
    "src/utils/index.ts": "export * from './helpers';\nimport React from 'react';\n",
    "src/utils/helpers.ts": "export const h = 1;\n",
    "src/config.ts": "export type C = import('./types').C;\n",
    "src/types.d.ts": "export type C = 1;\n",
    "test/main.test.js": "const app = require('../src/main');\n",
}


def test_an_application() -> None:
    assert edges(APP) == {
        "src/main.ts": {"src/utils/index.ts", "src/config.ts"},
        "src/utils/index.ts": {"src/utils/helpers.ts"},
        "src/config.ts": {"src/types.d.ts"},
        "test/main.test.js": {"src/main.ts"},
    }
    assert unresolved(APP) == {"src/utils/index.ts": 1}
    assert order(APP) == [
        "package.json",
        "src/types.d.ts",
        "src/config.ts",
        "src/utils/helpers.ts",
        "src/utils/index.ts",
        "src/main.ts",
        "test/main.test.js",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import './b'", "app/b.js"),
        ('import b, { c } from "./b"', "app/b.js"),
        ("export { b } from './b'; export * from './b.js'", "app/b.js"),
        ("function f() { if (x) { return require('./b') } }", "app/b.js"),
        ("const b = await import('./b')", "app/b.js"),
        ("import(`./b`)", "app/b.js"),
        ("import(/* webpackChunkName: 'b' */ './b')", "app/b.js"),
        ("/// <reference path='b.js' />", "app/b.js"),
        ("require('..')", "index.js"),
        ("require('./')", "app/index.mjs"),
        ("require('./folder')", "app/folder.js"),
        ("require('./folder/')", "app/folder/index.js"),
        ("require('./other')", "app/other/lib/entry.js"),
        ("import '/app/b'", "app/b.js"),
        ("import './数据'", "app/数据.js"),
        ("require('../../b')", None),
        ("require('../../app/b')", None),
        ("import(`./${b}`)", None),
        ("require(b)", None),
        ("o.require('./b')", None),
        ("required('./b')", None),
        ("// require('./b')", None),
        ("f('import', \"require('./b')\")", None),
        ("import 'b'", None),
        ("import './missing'", None),
    ],
)
def test_forms_of_names_and_paths(text: str, expected: str | None) -> None:
    files = dict.fromkeys(
        ("index.js", "app/b.js", "app/b.d.ts", "app/index.mjs", "app/folder.js", "app/数据.js"), ""
    )
    files |= dict.fromkeys(("app/folder/index.js", "app/other/lib/entry.js"), "")
    files |= {"app/other/package.json": '{"main": "./lib/entry"}', "app/a.js": text}
    assert edges(files) == ({"app/a.js": {expected}} if expected else {})


@pytest.mark.parametrize(
    ("ending", "written", "expected"),
    [
        (".ts", "./x", "x.ts"),
        (".ts", "./x.js", "x.ts"),
        (".tsx", "./y.jsx", "y.tsx"),
        (".ts", "./z", "z.d.ts"),
        (".d.ts", "./z.ts", "z.d.ts"),
        (".mts", "./m.mjs", "m.mts"),
        (".js", "./x", "x.js"),
        (".js", "./z", "z.js"),
        (".cjs", "./n.cjs", "n.cts"),
        (".jsx", "./y", "y.tsx"),
    ],
)
def test_a_file_of_the_importing_language_is_meant_first(
    ending: str, written: str, expected: str
) -> None:
    others = ("x.js", "x.ts", "x.tsx", "y.tsx", "z.js", "z.d.ts", "m.mts", "m.mjs", "n.cts")
    files = dict.fromkeys(others, "") | {f"a{ending}": f"import '{written}'"}
    assert edges(files) == {f"a{ending}": {expected}}


def test_typescript_alone_has_import_equals_and_type_imports() -> None:
    text = "import b = require('./b');\nimport type { C } from './c';\nlet d: typeof import('./d');"
    files = {"a.ts": text, "b.ts": "", "c.ts": "", "d.ts": ""}
    assert edges(files) == {"a.ts": {"b.ts", "c.ts", "d.ts"}}
    assert edges({"a.tsx": f"{text}\n<b/>;", "b.tsx": ""}) == {"a.tsx": {"b.tsx"}}


def test_packages_of_one_repository_import_each_other_by_name() -> None:
    core = {
        "exports": {
            ".": {"types": "./dist/index.d.ts", "default": "./dist/index.js"},
            "./math": ["./none.js", "./src/maths.ts"],
            "./parts/*": "./src/parts/*.ts",
        },
        "imports": {"#own/*": "./src/*.ts"},
    }
    files = {
        "packages/core/package.json": str({"name": "@shop/core"} | core).replace("'", '"'),
        "packages/core/src/index.ts": "import '#own/maths'; import '@shop/core/math'",
        "packages/core/src/maths.ts": "",
        "packages/core/src/parts/euro.ts": "",
        "packages/ui/package.json": '{"name": "ui", "module": "x", "main": "lib/ui"}',
        "packages/ui/lib/ui.js": "",
        "packages/ui/deep/it.js": "",
        "app/main.ts": "import '@shop/core'; import '@shop/core/math'; import 'ui'",
        "app/deep.js": "import '@shop/core/parts/euro'; import 'ui/deep/it'; import '@shop/none'",
    }
    assert edges(files) == {
        "packages/core/src/index.ts": {"packages/core/src/maths.ts"},
        "app/main.ts": {
            "packages/core/src/index.ts",
            "packages/core/src/maths.ts",
            "packages/ui/lib/ui.js",
        },
        "app/deep.js": {"packages/core/src/parts/euro.ts", "packages/ui/deep/it.js"},
    }
    assert unresolved(files) == {"app/deep.js": 1}


def test_of_two_packages_of_one_name_the_nearest_is_meant() -> None:
    files = {
        "one/x/package.json": '{"name": "x"}',
        "one/x/index.js": "",
        "one/a.js": "import 'x'",
        "two/x/package.json": '{"name": "x"}',
        "two/x/index.js": "",
        "two/a.js": "import 'x'",
        "a.js": "import 'x'",
    }
    assert edges(files) == {
        "one/a.js": {"one/x/index.js"},
        "two/a.js": {"two/x/index.js"},
        "a.js": {"one/x/index.js"},
    }


def test_names_are_mapped_by_the_tsconfig_above() -> None:
    files = {
        "tsconfig.json": """{
            // "paths" of the whole
            "compilerOptions": {"paths": {"@/*": ["src/*", "lib/*"], "@/x": ["src/y"],}, /* */ }
        }""",
        "web/tsconfig.json": '{"compilerOptions": {"baseUrl": "./app", "paths": {"~*": ["./*"]}}}',
        "src/y.ts": "",
        "src/x.ts": "",
        "lib/z.ts": "",
        "web/app/home.ts": "",
        "a.ts": "import '@/x'; import '@/z'; import '@/none'",
        "web/app/b.tsx": "import 'home'; import '~home'; import '@/y'",
    }
    assert edges(files) == {
        "a.ts": {"src/y.ts", "lib/z.ts"},
        "web/app/b.tsx": {"web/app/home.ts", "src/y.ts"},
    }
    assert unresolved(files) == {"a.ts": 1}


@pytest.mark.parametrize("text", ["{", "[1]", '{"compilerOptions": [], "name": {}}', "[" * 10**5])
def test_files_of_a_project_that_say_nothing(text: str) -> None:
    files = {"package.json": text, "tsconfig.json": text, "a.js": "import 'b'; import './c'"}
    assert edges(files | {"c.js": ""}) == {"a.js": {"c.js"}}


def test_a_cycle_and_the_order_of_the_input() -> None:
    files = {
        "a.js": "import './b'; import './a'",
        "b.js": "import './c'; import './d'",
        "c.js": "import './a'",
        "d.js": "",
    }
    expected = ["d.js", "a.js", "c.js", "b.js"]
    for seed in range(3):
        paths = sorted(files)
        random.Random(seed).shuffle(paths)
        assert order({path: files[path] for path in paths}) == expected


def test_every_import_of_a_long_file_is_found_around_its_word() -> None:
    filler = "const x = [1, 2, 3].map((y) => y + 1);\n"
    text = "".join(f"{filler * 20}const m{n} = require('./m{n}');\n" for n in range(200))
    files = {f"m{n}.js": "" for n in range(200)} | {"a.js": text}
    assert edges(files) == {"a.js": {f"m{n}.js" for n in range(200)}}
