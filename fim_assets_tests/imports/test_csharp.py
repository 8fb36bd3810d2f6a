"""C#: types by namespace and name, of the namespaces that a file uses or lies in."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

SHOP = {
    "Main.cs": "using System;\nusing Shop.Util;\nnamespace Shop\n{\n  class Main { Utils u; }\n}\n",
    "Config.cs": "namespace Shop { public static class Config {} }\n",
    "Util/Utils.cs": "namespace Shop.Util;\n\nclass Utils { Helpers h = new(); /* Unused */ }\n"
    "enum Kind { Config }\n",
    "Util/Helpers.cs": "namespace Shop.Util;\n\ninterface Helpers { Kind K(object o); }\n",
    "Util/Unused.cs": "namespace Shop.Util;\n\nrecord struct Unused(int N);\n",
}


def test_a_program_of_two_namespaces() -> None:
    assert edges(SHOP) == {
        "Main.cs": {"Util/Utils.cs"},
        "Util/Utils.cs": {"Util/Helpers.cs", "Config.cs"},
        "Util/Helpers.cs": {"Util/Utils.cs"},
    }
    assert unresolved(SHOP) == {"Main.cs": 1}
    assert order(SHOP) == [
        "Config.cs",
        "Util/Helpers.cs",
        "Util/Utils.cs",
        "Main.cs",
        "Util/Unused.cs",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("using A.B; class X { C c; }", {"C"}),
        ("using A.B; class X : D<C> { }", {"C", "D"}),
        ("using A.B; [Mark] class X { }", {"MarkAttribute"}),
        ("using A.B; class X { int n = C.N; }", {"C"}),
        ("using A.B; class X { int n = x.C; }", set()),
        ('using A.B; class X { string s = "C" + @"a""D\\"; } // C', set()),
        ("using A.B; class X { 数据 d; }", {"数据"}),
        ("using static A.B.C;", {"C"}),
        ("using Y = A.B.C;", {"C"}),
        ("using Y = global::A.B.D<int>;", {"D"}),
        ("global using A.B; class X { C c; }", {"C"}),
        ("namespace A { using B; class X { C c; } }", {"C"}),
        ("namespace A.B { class X { C c; } }", {"C"}),
        ("namespace A.B.E; class X { C c; }", {"C"}),
        ("namespace A.B; class C { C c; }", set()),
        ("#if Z\nusing A.B;\n#endif\nclass X { C c; }", {"C"}),
        ("using A; class X { C c; }", set()),
        ("class X { C c; }", set()),
        ("// using A.B;\nclass X { C c; }", set()),
    ],
)
def test_forms_of_names(text: str, expected: set[str]) -> None:
    names = ("C", "D", "MarkAttribute", "数据")
    files = {f"{name}.cs": f"namespace A.B {{ class {name} {{ }} }}" for name in names}
    found = edges(files | {"x/X.cs": text})
    assert found == ({"x/X.cs": {f"{name}.cs" for name in expected}} if expected else {})


def test_the_innermost_namespace_is_meant_and_nested_types_are_none() -> None:
    files = {
        "A.cs": "namespace N { class T { class Inner {} } }",
        "B.cs": "namespace N.M { class T {} }",
        "C.cs": "using N; namespace N.M.O { class C { T t; Inner i; } }",
    }
    assert edges(files) == {"C.cs": {"B.cs"}}


def test_the_parts_of_a_type_are_all_meant_and_of_two_equal_types_the_nearest() -> None:
    files = {
        "one/P.cs": "namespace N { partial class P {} }",
        "one/P.Rest.cs": "namespace N { partial class P {} }",
        "one/A.cs": "namespace N { class A { P p; } }",
        "two/P.cs": "namespace N { class P {} }",
        "two/B.cs": "namespace N { class B { P p; } }",
    }
    assert edges(files) == {"one/A.cs": {"one/P.cs", "one/P.Rest.cs"}, "two/B.cs": {"two/P.cs"}}


def test_a_global_using_counts_for_all_files() -> None:
    files = {
        "Usings.cs": "global using A.B;",
        "C.cs": "namespace A.B; class C {}",
        "X.cs": "class X { C c; }",
    }
    assert edges(files) == {"X.cs": {"C.cs"}}
