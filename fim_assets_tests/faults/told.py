"""A run of Dagster's, to be told to end: `python -m fim_assets_tests.faults.told ROOT …`."""

import argparse
import multiprocessing
import sys
from pathlib import Path

import dagster as dg
from dagster._utils.interrupts import capture_interrupts

from fim_assets.definitions import build_definitions
from fim_assets.recipe import Recipe
from fim_assets.settings import Engine, Settings
from fim_assets_tests.corpora import TOLERANT

MADE = ["raw_shards"]


def main() -> int:
    """Print the id of the run's process, then materialize; the exit status is 1 unless all is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--launched", action="store_true", help="as a code server launches a run")
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    options = parser.parse_args()
    if not options.launched:
        return materialize(options.root, options.engine)
    arguments = (options.root, options.engine)
    run = multiprocessing.get_context("spawn").Process(target=materialize, args=arguments)
    run.start()
    run.join()
    return int(run.exitcode != 0)


def materialize(root: Path, engine: Engine) -> int:
    """Materialize every partition, with two workers."""
    with capture_interrupts():
        print(multiprocessing.current_process().pid, flush=True)
        settings = Settings(root, root, "test", workers=2, engine=engine)
        built = build_definitions(Recipe(raw=TOLERANT), settings)
        assets = [asset for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)]
        keys = sorted(path.name.partition(".")[0] for path in (root / "raw").iterdir())
        tags = {
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
        (root / "dagster").mkdir(exist_ok=True)
        with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
            result = dg.materialize(assets, selection=MADE, tags=tags, instance=instance)
    return int(not result.success)


if __name__ == "__main__":
    sys.exit(main())
