"""A run of its own process, to be killed: `python -m fim_assets_tests.faults.run ROOT …`."""

import argparse
import errno
import sys
from pathlib import Path

from fim_assets.stages import ASSETS
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import open_corpus, run_all
from fim_assets_tests.faults.no_locks import without_locks

READY = "ready"

NO_LOCKS = ("ENOLCK", "EOPNOTSUPP", "ENOSYS")
"""What file systems without locks answer, by the error's name."""


def main() -> int:
    """Say `ready`, then materialize; failures are printed, the exit status is 1 with any."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--asset", choices=ASSETS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--without-locks", choices=NO_LOCKS)
    options = parser.parse_args()
    if options.without_locks:
        without_locks(getattr(errno, options.without_locks))
    corpus = open_corpus(options.root)
    assets = [options.asset] if options.asset else ASSETS
    if "token_arrays" in assets and options.workers == 1:
        load_tokenizer(corpus.recipe)
    print(READY, flush=True)
    failures = [o.failure for o in run_all(corpus, assets, workers=options.workers).values()]
    for failure in filter(None, failures):
        print(failure)
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
