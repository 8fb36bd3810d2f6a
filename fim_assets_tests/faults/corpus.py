"""The corpus that faults are put into, and what it must be in the end, byte by byte."""

import shutil
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import orjson

from fim_assets.corpus.corpus import list_shards
from fim_assets.corpus.receipts import Receipt, read_receipt, why_incomplete
from fim_assets.recipe import Recipe
from fim_assets.recipe.raw import Raw
from fim_assets.run.partition import Task, run_partition
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import ALL_CHECKS, documents, file_bytes, open_corpus, write_shard

KEYS = ("a", "b", "c")
DOCUMENTS = 400


@dataclass(frozen=True)
class Damage:
    """What is wrong, counted.

    Attributes:
        lost: Documents that are in a raw shard and not in every stage.
        wrong: Bytes that are not those of a run that nothing disturbed, or not there.
        left: Temporary files that lie about.
    """

    lost: int = 0
    wrong: int = 0
    left: int = 0

    def __add__(self, other: "Damage") -> "Damage":
        return Damage(self.lost + other.lost, self.wrong + other.wrong, self.left + other.left)


class FaultCorpus:
    """Three shards, and their outputs of a run that nothing disturbed.

    Args:
        folder: Takes the undisturbed run, and the roots that faults are put into.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.undisturbed = folder / "undisturbed"
        for key in KEYS:
            write_shard(self.undisturbed / "raw" / f"{key}.jsonl.zst", documents(DOCUMENTS, key))
        self.finish(self.undisturbed)

    @cached_property
    def expected(self) -> dict[str, bytes]:
        """Every output's bytes, by its path below the root."""
        return outputs(self.undisturbed)

    def seconds(self, asset: str) -> float:
        """How long the undisturbed run worked on an asset."""
        corpus = open_corpus(self.undisturbed)
        receipts = [read_receipt(corpus.files(asset, key)) for key in KEYS]
        return sum(receipt.made.seconds for receipt in receipts if receipt)

    def fresh(self, name: str) -> Path:
        """A root with the raw shards and nothing made."""
        root = self._folder / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.undisturbed / "raw", root / "raw")
        return root

    def finished(self, name: str) -> Path:
        """A root in which everything is made."""
        root = self._folder / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.undisturbed, root)
        return root

    @staticmethod
    def finish(root: Path, *, skip_complete: bool = True) -> list[str]:
        """The next run over a root, that nothing disturbs; its failures."""
        corpus = open_corpus(root, Recipe(raw=Raw(documents=("raw/*",))))
        tasks = [
            Task(corpus, key, path, frozenset(ASSETS), ALL_CHECKS, skip_complete)
            for key, path in list_shards(corpus, root).items()
        ]
        return [outcome.failure for task in tasks if (outcome := run_partition(task)).failure]

    def damage(self, root: Path) -> Damage:
        """Compare a root after its last run with the undisturbed one."""
        found = outputs(root)
        wrong = sum(
            len(content) if name not in found else differing(content, found[name])
            for name, content in self.expected.items()
        )
        wrong += sum(len(found[name]) for name in found.keys() - self.expected.keys())
        left = sum(
            path.name.startswith(".") for asset in ASSETS for path in (root / asset).iterdir()
        )
        return Damage(sum(lost_documents(root, key) for key in KEYS), wrong, left)

    def seen_by_readers(self, root: Path) -> Damage:
        """What is wrong with what receipts call complete, at any moment."""
        wrong = 0
        corpus = open_corpus(root)
        for asset in ASSETS:
            for key in KEYS:
                place = corpus.files(asset, key)
                receipt = read_receipt(place)
                if receipt is None or why_incomplete(receipt, place, corpus.fingerprint(asset)):
                    continue
                for output in receipt.result.outputs:
                    content = place.output(output.name).read_bytes()
                    wrong += differing(content, self.expected[f"{asset}/{output.name}"])
        return Damage(wrong=wrong)


def outputs(root: Path) -> dict[str, bytes]:
    """Bytes of all files that a run leaves, and of its receipts what is the same in every run."""
    found: dict[str, bytes] = {}
    for asset in ASSETS:
        folder = root / asset
        if not folder.is_dir():
            continue
        found |= {f"{asset}/{name}": content for name, content in file_bytes(folder).items()}
        for path in folder.glob("[!.]*.json"):
            receipt = Receipt.model_validate_json(path.read_bytes())
            found[f"{asset}/{path.name}"] = receipt.result.model_dump_json().encode()
    return found


def differing(one: bytes, other: bytes) -> int:
    """Bytes at which two contents differ."""
    same = sum(a == b for a, b in zip(one, other, strict=False)) if one != other else len(one)
    return max(len(one), len(other)) - same


def lost_documents(root: Path, key: str) -> int:
    """Documents of a raw shard that a stage's receipt does not count."""
    corpus = open_corpus(root)
    lost = 0
    for asset in ASSETS:
        receipt = read_receipt(corpus.files(asset, key))
        result = receipt.result if receipt else None
        counted = result.documents + result.rejected if result else 0
        lost += abs(DOCUMENTS - counted)
    return lost


def reasons(rejected: Path) -> Counter[str]:
    """Why lines were rejected, from `<key>.rejected.jsonl`."""
    if not rejected.exists():
        return Counter()
    return Counter(orjson.loads(line)["reason"] for line in rejected.read_bytes().splitlines())
