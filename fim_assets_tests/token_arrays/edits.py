"""Faults put into the files of a finished partition `a`, and what the checks say of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow.parquet as pq
import zstandard

from fim_assets.corpus.stage import CheckOutcome
from fim_assets.io.hashing import record_file
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.token_arrays.shuffle_buffer import Ids
from fim_assets.token_arrays.stage import TOKEN_ARRAYS
from fim_assets_tests.corpora import open_corpus, partition_files, run_all

Table = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Partition:
    """The partition `a` of a corpus, all of whose files may be edited.

    Whatever is edited, its receipt is made to agree, so that the checks themselves have to notice.

    Attributes:
        root: The data root.
        recipe: What made it.
    """

    root: Path
    recipe: Recipe

    def verdicts(self, names: Iterable[str]) -> dict[str, CheckOutcome]:
        """Run checks of one asset on what lies there; their verdicts by name."""
        names = list(names)
        outcome = run_all(open_corpus(self.root, self.recipe), [], names)["a"]
        assert outcome.stages, f"{outcome.failure}\n{outcome.details}"
        (stage,) = outcome.stages
        assert [check.name for check in stage.checks] == names
        return {check.name: check for check in stage.checks}

    def check(self, name: str) -> CheckOutcome:
        """The verdict of one check."""
        return self.verdicts([name])[name]

    def token_faults(self) -> dict[str, str]:
        """What the checks of `token_arrays` find, by name; nothing of those that pass."""
        verdicts = self.verdicts(check.name for check in TOKEN_ARRAYS.checks_of(self.recipe))
        return {name: its.description for name, its in verdicts.items() if not its.passed}

    def array(self, number: int = 0) -> Path:
        """An array's path."""
        ending = LAYOUTS[self.recipe.tokens.layout].ending
        return self.root / "token_arrays" / f"a-{number:05d}{ending}"

    def ids(self, number: int = 0) -> Ids:
        """An array's ids."""
        return np.fromfile(self.array(number), id_dtype(self.recipe.tokens))

    def edit_ids(self, edit: Callable[[Ids], Ids | None], number: int = 0) -> None:
        """Change an array, in place or to the ids that `edit` returns."""
        ids = self.ids(number)
        other = edit(ids)
        (ids if other is None else other).tofile(self.array(number))
        self.agree("token_arrays", self.array(number))

    def mask(self, number: int = 0) -> Path:
        """A label mask's path."""
        name = LAYOUTS[self.recipe.tokens.layout].mask_name(self.array(number).name)
        return self.root / ("" if "/" in name else "token_arrays") / name

    def edit_mask(self, edit: Callable[[bytes], bytes]) -> None:
        """Change the first array's label mask."""
        self.mask().write_bytes(edit(self.mask().read_bytes()))
        self.agree("token_arrays", self.mask())

    def table(self, asset: str = "token_arrays") -> pl.DataFrame:
        """A parquet's rows."""
        return pl.read_parquet(self.root / asset / "a.parquet")

    def edit_table(self, asset: str, edit: Table) -> None:
        """Change a parquet's rows."""
        path = self.root / asset / "a.parquet"
        schema = pq.read_schema(path)
        pq.write_table(edit(pl.read_parquet(path)).to_arrow().cast(schema), path)
        self.agree(asset, path)

    def edit_files(self, line: int, edit: Callable[[list[dict[str, Any]]], Any]) -> None:
        """Change, in place, the files that the arrays' parquet has for a raw shard's line."""
        path = self.root / "token_arrays" / "a.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        (files,) = (row["files"] for row in rows if row["line"] == line)
        edit(files)
        pq.write_table(type(table).from_pylist(rows, table.schema), path)
        self.agree("token_arrays", path)

    def edit_lines(self, edit: Callable[[list[bytes]], list[bytes]]) -> None:
        """Change the FIM shard's lines."""
        path = self.root / "fim_shards" / "a.jsonl.zst"
        lines = zstandard.decompress(path.read_bytes(), 1 << 30).split(b"\n")[:-1]
        path.write_bytes(zstandard.compress(b"".join(line + b"\n" for line in edit(lines))))
        self.agree("fim_shards", path)

    def edit_receipt(self, asset: str, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Change, in place, the result in a receipt."""
        receipt = self.root / asset / "a.json"
        content = orjson.loads(receipt.read_bytes())
        edit(content["result"])
        receipt.write_bytes(orjson.dumps(content))

    def agree(self, asset: str, path: Path) -> None:
        """Have receipts say what an edited file holds: its own, and those of what is made of it."""
        place, record = partition_files(self.root / asset, "a"), record_file(path).model_dump()

        def output(result: dict[str, Any]) -> None:
            for known in result["outputs"]:
                if place.output(known["name"]) == path:
                    known.update(record, name=known["name"])

        def made_of(result: dict[str, Any]) -> None:
            if result["input"]["name"] == path.name:
                result["input"] = record

        self.edit_receipt(asset, output)
        if asset == "fim_shards" and (self.root / "token_arrays" / "a.json").exists():
            self.edit_receipt("token_arrays", made_of)
