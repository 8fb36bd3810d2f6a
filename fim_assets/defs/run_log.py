"""What the log of a run says next to its progress."""

from collections.abc import Sequence

import dagster as dg

from fim_assets.corpus.partition_lock import no_locks_warning
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.defs.failures import without_lines
from fim_assets.defs.metadata import DATA
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.run.partition import Outcome
from fim_assets.wording import plural


class RunLog:
    """What the log of a run says, each thing once however many partitions it concerns."""

    def __init__(self, log: dg.DagsterLogManager, graph: CorpusDefinition) -> None:
        self._log = log
        self._graph = graph
        self._logged: set[str | None] = set()
        root = graph.corpus.folder("")
        log.info("outputs lie in %s", root)
        if warning := no_locks_warning(root):
            log.warning("%s", warning)

    def outcome(self, outcome: Outcome) -> None:
        """Log a partition's failure, and what else is notable of it."""
        for stage in outcome.stages:
            if stage.receipt is not None and not stage.skipped:
                encoder = stage.receipt.made.engine
                if encoder not in self._logged and not encoder.startswith("python "):
                    self._log.info("%s: texts are encoded by %s", stage.asset, encoder)
                self._logged.add(encoder)
            if stage.replaced:
                self._once(
                    f"{stage.asset}: what another recipe had made is made again by this one, in "
                    "its place; corpora of two recipes need a FIM_DATA_ROOT each"
                )
        if outcome.interrupted:
            self._log.warning(
                "%s: a worker process died while %s was being worked on; it was worked on again",
                outcome.key,
                self._graph.shards[outcome.key],
            )
        if outcome.failure:
            text = outcome.details or outcome.failure
            # The lines of a shard that are examples of a fault stand in the log once.
            if outcome.details is None and "\n" in text:
                text = without_lines(text) if outcome.fault in self._logged else text
                self._logged.add(outcome.fault)
            self._log.error("%s: %s", outcome.key, text)

    def records(self, instance: dg.DagsterInstance, assets: Sequence[str]) -> None:
        """Log whether Dagster has records of another corpus under the same keys."""
        for asset in assets:
            folder = self._graph.corpus.folder(asset)
            event = instance.get_latest_materialization_event(self._graph.key(asset))
            made = event.asset_materialization if event else None
            where = made.metadata.get(DATA) if made else None
            if where is not None and not str(where.value).startswith(f"{folder}"):
                self._log.warning(
                    "the records of this DAGSTER_HOME are of %s in %s too, and the UI shows both "
                    "corpora as one: give each a DAGSTER_HOME or a key prefix of its own",
                    asset,
                    str(where.value),
                )
                return

    def _once(self, warning: str) -> None:
        if warning not in self._logged:
            self._log.warning("%s", warning)
        self._logged.add(warning)

    def end(self, skipped: int, occurrences: Occurrences, *, complete: bool) -> None:
        """Log what is known of all partitions together; `complete`, if they are all there are."""
        if skipped:
            self._log.info("complete already, and skipped: %s", plural(skipped, "partition"))
        recipe = self._graph.corpus.recipe
        for warning in unmatched_names(recipe, occurrences, complete=complete):
            self._log.warning("%s", warning)
