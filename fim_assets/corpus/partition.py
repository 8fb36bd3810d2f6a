"""One partition while it is worked on: its raw shard, its files, and what each stage reads.

Here stands how receipts of stages that read one another must agree; what is done stage by stage is
`run/partition.py`.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import PartitionFiles, ReceiptError
from fim_assets.corpus.raw_shard import RawInput, fetch_all
from fim_assets.corpus.receipts import Receipt, read_receipt, why_incomplete
from fim_assets.corpus.stage import Finished, Source, Stage, StageFiles, Totals
from fim_assets.corpus.staging import fetch_outputs
from fim_assets.errors import ShardError
from fim_assets.io.hashing import FileRecord, joined_name, joined_record, record_file


class Partition:
    """One partition of a corpus, on this machine; its raw shard is fetched into `folder`."""

    def __init__(self, corpus: Corpus, key: str, shard: RawInput, folder: Path) -> None:
        self.corpus = corpus
        self.key = key
        self.shard = shard
        self._folder = folder

    @property
    def seed(self) -> int:
        """The partition's seed, 64 bits."""
        return self.corpus.recipe.partition_seed(self.key)

    def files(self, stage: Stage) -> PartitionFiles:
        """The files of a stage."""
        return self.corpus.files(stage.name, self.key)

    @cached_property
    def raw_paths(self) -> tuple[Path, ...]:
        """The raw shard, or the members of a group, fetched when they are first needed."""
        return fetch_all(self.shard, self._folder)

    @cached_property
    def raw_record(self) -> FileRecord:
        """The raw shard's identity."""
        if known := self.shard.known_record():
            return known
        records = [record_file(path) for path in self.raw_paths]
        self._refuse_other_members(records)
        return joined_record(records)

    def _refuse_other_members(self, records: Sequence[FileRecord]) -> None:
        for member, record in zip(self.shard.members, records, strict=True):
            member.refuse_other(record)

    def source(self, stage: Stage) -> Source:
        """The documents that a stage reads, on this machine.

        Raises a ReceiptError if the stage that writes them is not finished, and a ShardError if it
        is made of another content of the raw shard than earlier stages.
        """
        before = self.corpus.source(stage)
        if before is None or before.shard is None:
            name = joined_name([path.name for path in self.raw_paths])
            return Source(self.raw_paths, None, name, None)
        receipt = self.fetched(before)
        self._refuse_other_content(before, receipt.result.input)
        files = self.files(before)
        path = files.file(before.shard)
        name = self.corpus.relative(before.name, path.name)
        return Source((path,), files.file(".parquet"), name, receipt)

    def receipt(self, stage: Stage) -> Receipt | None:
        """The receipt of a stage, None where there is none."""
        return read_receipt(self.files(stage))

    def finished(self, stage: Stage) -> Receipt:
        """The receipt of a stage that is complete; a ReceiptError says why if it is not."""
        receipt, files = self.receipt(stage), self.files(stage)
        if receipt is None:
            problem = f"no receipt, so {stage.name} is not finished for {self.key}"
            raise ReceiptError(problem, f"materialize {stage.name} first", files.receipt)
        if reason := why_incomplete(receipt, files, self.corpus.fingerprint(stage.name)):
            where = f"{stage.name} of {self.key}"
            raise ReceiptError(reason, f"materialize {stage.name} again", where)
        return receipt

    def fetched(self, stage: Stage) -> Receipt:
        """The receipt of a complete stage, whose files then are on this machine."""
        receipt = self.finished(stage)
        fetch_outputs(self.files(stage), receipt)
        return receipt

    def opened(self, stage: Stage, receipt: Receipt) -> Finished:
        """A finished stage, for its checks."""
        corpus, source = self.corpus, self.corpus.source(stage)
        return Finished(
            corpus.recipe,
            corpus.tokenizer_hash,
            self.files(stage),
            receipt,
            lambda: self.source(stage),
            lambda: {other.name: self._fetched_if_current(other) for other in corpus.before(stage)},
            source.name if source else None,
        )

    def _fetched_if_current(self, stage: Stage) -> StageFiles:
        files, receipt = self.files(stage), self.receipt(stage)
        if receipt is None or receipt.result.fingerprint != self.corpus.fingerprint(stage.name):
            return StageFiles(files, None)
        fetch_outputs(files, receipt)
        return StageFiles(files, receipt)

    def possible_inputs(self, stage: Stage) -> list[FileRecord]:
        """What the input of a complete stage may be; none if an earlier stage does not agree.

        A ReceiptError is raised if an earlier stage is not complete.
        """
        before = self.corpus.source(stage)
        if before is None:
            return [self.raw_record]
        result = self.finished(before).result
        return result.outputs if result.input in self.possible_inputs(before) else []

    def refuse_other_source(self, stage: Stage, source: Source, totals: Totals) -> None:
        """Refuse to finish a stage that has read other documents than the earlier stages.

        `totals` say what was read. A ShardError is raised if the source has changed meanwhile, or
        is not what its manifest says.
        """
        read = totals.input
        before = self.corpus.source(stage)
        if before is None or source.receipt is None or source.parquet is None:
            self._refuse_other_members(totals.members or (read,))
            self._refuse_other_content(stage, read)
            return
        for record in (read, record_file(source.parquet)):
            self._refuse_damage(before, record, source.receipt)

    def _refuse_other_content(self, stage: Stage, read: FileRecord) -> None:
        """Compare what a stage has read with what earlier stages read that read the same."""
        source = self.corpus.source(stage)
        for other in self.corpus.before(stage):
            receipt = self.receipt(other) if self.corpus.source(other) is source else None
            if receipt is not None and receipt.result.input.blake2b != read.blake2b:
                both = f"{other.name} and {stage.name} are made of different contents of it"
                raise ShardError(f"{self.shard}: {both}; materialize both again")

    def refuse_other_inputs(self, stage: Stage, receipt: Receipt) -> None:
        """Raise a ShardError for inputs that are gone, damaged, or not what outputs are made of.

        A ReceiptError is raised if an earlier stage is not complete.
        """
        before = self.corpus.source(stage)
        if before is None:
            source, inputs = str(self.shard), [self.raw_record]
        else:
            for other in self.corpus.before(stage):
                old = other is not before and self.receipt(other)
                if old and old.result.fingerprint == self.corpus.fingerprint(other.name):
                    self._undamaged(other)
            source = str(self.files(before).published(receipt.result.input.name))
            inputs = self._undamaged(before)
        if receipt.result.input not in inputs:
            problem = f"its content is not the one that {stage.name} are made of"
            advice = f"bring that back, or materialize {stage.name} again"
            raise ShardError(f"{source}: {problem}; {advice}")

    def _undamaged(self, stage: Stage) -> list[FileRecord]:
        """A finished stage's outputs, by their content."""
        files, receipt = self.files(stage), self.fetched(stage)
        records = [record_file(files.output(output.name)) for output in receipt.result.outputs]
        for record in records:
            self._refuse_damage(stage, record, receipt)
        return records

    def _refuse_damage(self, stage: Stage, record: FileRecord, receipt: Receipt) -> None:
        if record not in receipt.result.outputs:
            problem = "its content is not the one that its receipt says"
            path = self.files(stage).folder / record.name
            raise ShardError(f"{path}: {problem}; materialize {stage.name} again")
