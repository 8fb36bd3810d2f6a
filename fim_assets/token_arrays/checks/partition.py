"""A finished partition, opened for the checks: its arrays, its parquet and the FIM shard.

All checks of a run share one, so that what several of them need is read once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import Receipt, Result
from fim_assets.corpus.stage import Finished, StageFiles
from fim_assets.fim_shards.record import FimDocuments, FimShardReader
from fim_assets.io.parquet import read_frames
from fim_assets.layouts.base import Layout
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.arrays import ArrayReader, id_dtype
from fim_assets.token_arrays.checks.sample import Sample, SampledDocument
from fim_assets.token_arrays.checks.spans import DocumentSpans, TokenSpan
from fim_assets.token_arrays.shuffle_buffer import BESIDE_EDGES, Ids
from fim_assets.tokenizer.load import LoadedTokenizer

_OPEN_AT_ONCE = 64


@dataclass
class TokenPartition:
    """A partition's token arrays with their receipt, and what they were made of."""

    finished: Finished
    before: Mapping[str, StageFiles]
    tokenizer: LoadedTokenizer

    @property
    def recipe(self) -> Recipe:
        """What made them."""
        return self.finished.recipe

    @property
    def receipt(self) -> Receipt:
        """The arrays' receipt."""
        return self.finished.receipt

    @property
    def tokens(self) -> PartitionFiles:
        """The files of the arrays."""
        return self.finished.files

    @property
    def made_of(self) -> str:
        """The stage whose documents they hold; a ValueError if none wrote any."""
        if self.finished.made_of is None:
            raise ValueError("no stage wrote the documents of the arrays")
        return self.finished.made_of

    @property
    def fim(self) -> PartitionFiles:
        """The files of the FIM shard."""
        return self.before[self.made_of].files

    def results(self) -> list[Result]:
        """Results of the stages up to that one, as far as today's recipe made them."""
        stages = [*self.before]
        upto = stages[: stages.index(self.made_of) + 1]
        return [made.result for name in upto if (made := self.before[name].receipt)]

    @cached_property
    def spans(self) -> DocumentSpans:
        """Where each document is."""
        columns = ["line", "array", "start", "end", *self.piece_columns[:1]]
        shard = None
        if self.recipe.repositories is not None:
            # A repository's line is that of its first file: they do not ascend.
            record = self.record(["line", *self.piece_columns[:1], "file"])
            shard = (rows.filter(pl.col("file") == 0) for rows in record)
        return DocumentSpans.gather(self.frames(columns), shard)

    @property
    def piece_columns(self) -> list[str]:
        """Columns that say which piece of a document is one, none where none is divided."""
        return [] if self.recipe.piece_tokens is None else ["piece", "pieces"]

    @property
    def around_columns(self) -> list[str]:
        """Columns that say what stands around each file, none where no stage has joined them."""
        if self.recipe.repositories is None:
            return []
        return ["lead_chars", "header_chars", "tail_chars"]

    @property
    def head(self) -> int:
        """Ids in front of a document's text."""
        return self.recipe.tokens.tokenizer.head

    @cached_property
    def controls(self) -> dict[str, int]:
        """The ids whose places the parquet says, by name.

        They are those of the sentinels; of the `separator` between files, and of the `repository`
        token where a stage writes one, as far as these are ids and not text.
        """
        controls = self.tokenizer.controls
        named = {"separator": controls.separator, "repository": controls.repository}
        ids = {name: controls.boundaries.get(token or "") for name, token in named.items()}
        return controls.sentinels | {
            name: number for name, number in ids.items() if number is not None
        }

    @property
    def padding(self) -> int | None:
        """The id between documents, None where nothing may stand there."""
        tokens = self.recipe.tokens
        return tokens.tokenizer.pad_token_id if tokens.align == "pad" else None

    @property
    def layout(self) -> Layout:
        """The arrays' layout."""
        return LAYOUTS[self.recipe.tokens.layout]

    def frames(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """The arrays' parquet, many documents at a time."""
        return read_frames(self.tokens.file(".parquet"), columns)

    def files(self) -> Iterator[pl.DataFrame]:
        """The files' offsets in the arrays' order, one row a file, many documents at a time.

        Where no stage has joined them, what is between two is the separator.
        """
        columns = ["line", "array", "start", "end", "files", *self.piece_columns]
        between = pl.col("file_end").shift(1).over("array", "start")
        beside = {
            "separator_start": between,
            "separator_end": pl.when(between.is_not_null()).then(pl.col("file_start")),
        }
        nothing = pl.lit(None, pl.Int64)
        beside |= {name: nothing for name in BESIDE_EDGES if name not in beside}
        for frame in self.frames(columns):
            rows = frame.explode("files").unnest("files")
            yield rows if self.recipe.repositories else rows.with_columns(**beside)

    def record(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """The FIM shard's parquet, many files at a time; a file's line is its document's."""
        line = 0
        for frame in read_frames(self.fim.file(".parquet"), columns):
            if self.recipe.repositories is None:
                yield frame
                continue
            first = pl.when(pl.col("file") == 0).then("line")
            # A document may begin in the rows before.
            yield (rows := frame.with_columns(line=first.forward_fill().fill_null(line)))
            line = rows["line"][-1]

    @cached_property
    def arrays(self) -> list[str]:
        """Names of the arrays."""
        outputs = [output.name for output in self.receipt.result.outputs]
        return [name for name in outputs if name.endswith(self.layout.ending) and "/" not in name]

    def open(self, array: str) -> ArrayReader:
        """Read an array."""
        dtype = id_dtype(self.recipe.tokens)
        return ArrayReader(self.tokens.output(array), dtype, self.layout.header_bytes)

    def blocks(self) -> Iterator[tuple[str, int, Ids]]:
        """All arrays, block by block: name, where the block begins, and its ids."""
        for array in self.arrays:
            with self.open(array) as reader:
                for begin, ids in reader.blocks():
                    yield array, begin, ids

    @contextmanager
    def reading(self) -> Iterator[Callable[[TokenSpan], Ids]]:
        """Reads spans of all arrays, however many there are."""
        with ExitStack() as stack:
            opened: dict[str, ArrayReader] = {}

            def read(span: TokenSpan) -> Ids:
                if span.array not in opened:
                    if len(opened) == _OPEN_AT_ONCE:
                        stack.close()
                        opened.clear()
                    opened[span.array] = stack.enter_context(self.open(span.array))
                return opened[span.array].read(span.start, span.end)

            yield read

    def texts(self) -> Iterator[tuple[FimDocuments, list[TokenSpan]]]:
        """The FIM shard block by block, with each document's span.

        Raises:
            ValueError: If a document is in no array, or the arrays hold another one.
        """
        arrays, count = set(self.arrays), 0
        sample = Sample()
        shard = self.fim.file(".jsonl.zst")
        with FimShardReader(shard, self.fim.file(".parquet")) as reader:
            for block in reader:
                lines, spans = self.spans.in_shard_order(count, count + len(block.raw_numbers))
                count += len(spans)
                numbers = zip(block.documents.numbers, block.raw_numbers, strict=True)
                for row, (number, raw) in enumerate(numbers):
                    if row >= len(spans) or lines[row] != raw or spans[row].array not in arrays:
                        raise ValueError(f"line {number} of the FIM shard is in no array")
                sample.add(block, spans)
                yield block, spans
        if count < len(self.spans.lines):
            raise ValueError("the arrays hold more documents than the FIM shard")
        self.sampled = sample.documents

    @cached_property
    def sampled(self) -> list[SampledDocument]:
        """The documents to compare with the reference, kept by whichever check read all texts.

        Raises a ValueError as `texts`.
        """
        for _ in self.texts():
            pass
        return self.sampled
