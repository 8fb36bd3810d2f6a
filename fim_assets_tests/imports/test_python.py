"""Python: what each form of import means, in repositories of the usual layouts."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

PACKAGE = {
    "setup.py": "from setuptools import setup\n",
    "src/shop/__init__.py": "from .prices import Price\nfrom . import carts\n",
    "src/shop/prices.py": "import decimal\n\n\nclass Price: ...\n",
    "src/shop/carts/__init__.py": "",
    "src/shop/carts/cart.py": "from ..prices import Price\nfrom ... import nothing\n",
    "src/shop/carts/__main__.py": "from . import cart as c, VERSION\n",
    "src/shop/version.py": "",
    "tests/__init__.py": "",
    "tests/test_cart.py": "import shop.carts.cart, os\nfrom tests.helpers import *\n",
    "tests/helpers.py": "def cart():\n    from shop import version, Price\n    return version\n",
}


def test_a_package_below_src_and_its_tests() -> None:
    assert edges(PACKAGE) == {
        "src/shop/__init__.py": {"src/shop/prices.py", "src/shop/carts/__init__.py"},
        "src/shop/carts/cart.py": {"src/shop/prices.py"},
        "src/shop/carts/__main__.py": {"src/shop/carts/__init__.py", "src/shop/carts/cart.py"},
        "tests/test_cart.py": {
            "src/shop/__init__.py",
            "src/shop/carts/__init__.py",
            "src/shop/carts/cart.py",
            "tests/helpers.py",
        },
        "tests/helpers.py": {"src/shop/__init__.py", "src/shop/version.py"},
    }
    assert unresolved(PACKAGE) == {
        "setup.py": 1,
        "src/shop/prices.py": 1,
        "src/shop/carts/cart.py": 1,
        "tests/test_cart.py": 1,
    }
    assert order(PACKAGE) == [
        "setup.py",
        "src/shop/carts/__init__.py",
        "src/shop/prices.py",
        "src/shop/__init__.py",
        "src/shop/carts/cart.py",
        "src/shop/carts/__main__.py",
        "src/shop/version.py",
        "tests/helpers.py",
        "tests/test_cart.py",
        "tests/__init__.py",
    ]


def test_the_worked_example_of_tree_fitter() -> None:
    files = {
        "main.py": "import utils\nimport config\n",
        "utils.py": "from helpers import help\n",
        "config.py": "",
        "helpers.py": "def help(): ...\n",
    }
    assert order(files) == ["config.py", "helpers.py", "utils.py", "main.py"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b", {"a/__init__.py", "a/b.py"}),
        ("import a . b as x, \\\n  c", {"a/__init__.py", "a/b.py", "c.py"}),
        ("from a import b", {"a/__init__.py", "a/b.py"}),
        ("from a import (b as c, # d\n  name)", {"a/__init__.py", "a/b.py"}),
        ("from a.b import *", {"a/__init__.py", "a/b.py"}),
        ("from a.missing import b", {"a/__init__.py"}),
        ("from .a import b", {"a/__init__.py", "a/b.py"}),
        ("from . import c", {"c.py"}),
        ("from . . import c", set()),
        ("from .. import c", set()),
        ("import ns.x", {"ns/x.py"}),
        ("from ns import x, y", {"ns/x.py"}),
        ("import ns", set()),
        ("from __future__ import a", set()),
        ("import main", set()),
        ("if c:\n  try:\n    import c\n  except ImportError: c = None", {"c.py"}),
        ("def f():\n  class G:\n    async def h():\n      import c", {"c.py"}),
        ("print('import c')\n# import c\n", set()),
        ("import ｃ, ﬁle", {"c.py", "file.py"}),
        ("import 数据.é", {"数据/é.py"}),
        ("import stub, both", {"stub.pyi", "both.py"}),
    ],
)
def test_forms_of_imports(text: str, expected: set[str]) -> None:
    places = ("main.py", "a/__init__.py", "a/b.py", "c.py", "ns/x.py", "file.py", "数据/é.py")
    files = dict.fromkeys((*places, "stub.pyi", "both.py", "both.pyi"), "")
    assert edges(files | {"main.py": text}).get("main.py", set()) == expected


def test_a_package_goes_before_a_module_of_its_name_and_both_before_a_folder() -> None:
    files = {"x.py": "import a, b", "a.py": "", "a/__init__.py": "", "b.py": "", "b/c.py": ""}
    assert edges(files)["x.py"] == {"a/__init__.py", "b.py"}
    assert edges(files | {"x.py": "import b.c"}) == {"x.py": {"b.py"}}


def test_a_folder_of_scripts_stays_one_beside_a_module_of_its_name() -> None:
    files = {"tests.py": "", "tests/a.py": "import b\nfrom . import c", "tests/b.py": ""}
    assert edges(files | {"tests/c.py": ""}) == {"tests/a.py": {"tests/b.py", "tests/c.py"}}


def test_a_package_that_holds_the_file_counts_only_for_names_of_its_own() -> None:
    files = {
        "a/__init__.py": "from .x import X",
        "a/x.py": "from . import y\nimport a.z\nfrom a import y",
        "a/y.py": "from . import NAME",
        "a/z.py": "import a",
    }
    assert edges(files) == {
        "a/__init__.py": {"a/x.py"},
        "a/x.py": {"a/y.py", "a/z.py"},
        "a/y.py": {"a/__init__.py"},
        "a/z.py": {"a/__init__.py"},
    }


def test_of_two_packages_of_one_name_the_nearest_is_meant() -> None:
    files = {
        "one/lib/__init__.py": "",
        "one/app/main.py": "import lib",
        "two/lib/__init__.py": "",
        "two/app/main.py": "import lib",
        "three/main.py": "import lib",
        "a/lib/tests/x/main.py": "import lib",
    }
    assert edges(files) == {
        "one/app/main.py": {"one/lib/__init__.py"},
        "two/app/main.py": {"two/lib/__init__.py"},
        "three/main.py": {"one/lib/__init__.py"},
        "a/lib/tests/x/main.py": {"one/lib/__init__.py"},
    }


def test_a_module_inside_of_a_package_is_no_module_of_the_top() -> None:
    """`import logging` beside `pkg/logging.py` is the standard library's."""
    files = {"pkg/__init__.py": "", "pkg/logging.py": "", "pkg/a.py": "import logging"}
    assert edges(files) == {}
    assert edges(files | {"scripts/run.py": "import tools", "scripts/tools.py": ""}) == {
        "scripts/run.py": {"scripts/tools.py"}
    }


def test_packages_that_a_package_brings_along_are_found() -> None:
    files = {"pkg/__init__.py": "import dep.a", "pkg/_vendor/dep/a.py": ""}
    assert edges(files | {"pkg/_vendor/dep/__init__.py": ""}) == {
        "pkg/__init__.py": {"pkg/_vendor/dep/__init__.py", "pkg/_vendor/dep/a.py"}
    }


def test_a_lone_module_elsewhere_is_meant_by_scripts_and_not_by_packages() -> None:
    files = {
        "pkg/__init__.py": "import re, tools",
        "scripts/run.py": "import re, tools",
        "other/re.py": "",
        "other/tools/__init__.py": "",
        "pkg/data/re.py": "",
    }
    assert edges(files) == {
        "pkg/__init__.py": {"other/tools/__init__.py"},
        "scripts/run.py": {"other/re.py", "other/tools/__init__.py"},
    }
