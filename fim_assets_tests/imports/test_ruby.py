"""Ruby: names on the load path, and paths from a file."""

import pytest

from fim_assets_tests.imports.trees import edges, order, unresolved

GEM = {
    "lib/shop.rb": 'require "json"\nrequire "shop/prices"\nautoload :Cart, "shop/cart"\n',
    "lib/shop/prices.rb": "module Shop\n  autoload(:Euro, 'shop/euro')\nend\n",
    "lib/shop/cart.rb": "class Shop::Cart\n  def f = require_relative('prices')\nend\n",
    "lib/shop/euro.rb": "",
    "spec/spec_helper.rb": "require 'shop'\n",
    "spec/shop/cart_spec.rb": "require 'spec_helper'\nrequire_relative '../../lib/shop/cart'\n",
}


def test_a_gem() -> None:
    assert edges(GEM) == {
        "lib/shop.rb": {"lib/shop/prices.rb", "lib/shop/cart.rb"},
        "lib/shop/prices.rb": {"lib/shop/euro.rb"},
        "lib/shop/cart.rb": {"lib/shop/prices.rb"},
        "spec/spec_helper.rb": {"lib/shop.rb"},
        "spec/shop/cart_spec.rb": {"spec/spec_helper.rb", "lib/shop/cart.rb"},
    }
    assert unresolved(GEM) == {"lib/shop.rb": 1}
    assert order(GEM) == [
        "lib/shop/euro.rb",
        "lib/shop/prices.rb",
        "lib/shop/cart.rb",
        "lib/shop.rb",
        "spec/spec_helper.rb",
        "spec/shop/cart_spec.rb",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("require_relative 'b'", "app/b.rb"),
        ("require_relative '../top.rb'", "top.rb"),
        ('require "./b"', "app/b.rb"),
        ("require 'top'", "top.rb"),
        ("load 'top.rb'", "top.rb"),
        ("require File.expand_path('../b', __FILE__)", "app/b.rb"),
        ("require File.expand_path('b', __dir__)", "app/b.rb"),
        ("require File.join(File.dirname(__FILE__), 'b')", "app/b.rb"),
        ("require File.expand_path('b', other)", None),
        ("require 'b'", None),
        ("require 'b#{1}'", None),
        ('require "b#{1}"', None),
        ("object.require 'top'", None),
        ("require name", None),
        ("require_relative '../../top'", None),
        ("# require 'top'", None),
        ("Object.autoload :T, 'top'", "top.rb"),
        ("require '数据'", "other/lib/数据.rb"),
    ],
)
def test_forms_of_names(text: str, expected: str | None) -> None:
    files = dict.fromkeys(("app/b.rb", "top.rb", "other/lib/数据.rb"), "") | {"app/a.rb": text}
    assert edges(files) == ({"app/a.rb": {expected}} if expected else {})


def test_of_two_libraries_of_one_name_the_nearest_is_meant() -> None:
    files = {
        "one/lib/x.rb": "",
        "one/bin/a.rb": "require 'x'",
        "two/lib/x.rb": "",
        "two/bin/a.rb": "require 'x'",
        "bin/a.rb": "require 'x'",
    }
    assert edges(files) == {
        "one/bin/a.rb": {"one/lib/x.rb"},
        "two/bin/a.rb": {"two/lib/x.rb"},
        "bin/a.rb": {"one/lib/x.rb"},
    }
