"""Builds the table of languages' names: `make languages` runs it, nothing imports it.

The names and aliases are those of GitHub's Linguist (MIT), from the npm package linguist-languages
(MIT), which is pinned here by its hash. It needs npm and Node.js.
"""

import json
import shutil
import subprocess
import tarfile
from hashlib import sha512
from pathlib import Path
from tempfile import TemporaryDirectory

DATA = Path("fim_assets/languages/data")

_PACKAGE = "linguist-languages@9.5.0"

_SHA512 = (
    "5ad83d3ba88734160525056d3cdc1609a5a4344a99aa208623881291e1fc4eab"
    "e0654c9bd4851698549af59f54853dfddbf697e8f7a86bdd5b1fdb036a1d5957"
)

_PRINT_NAMES = """
import * as languages from "./package/index.js"
const rows = Object.values(languages).map(({name, aliases}) => [name, aliases ?? []])
console.log(JSON.stringify(Object.fromEntries(rows)))
"""


def fetch(folder: Path) -> Path:
    """The package, unpacked in a folder.

    Raises:
        ValueError: If it is not the one that is expected.
    """
    command = ["npm", "pack", "--silent", _PACKAGE]
    name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    archive = folder / name.strip()
    found = sha512(archive.read_bytes()).hexdigest()
    if found != _SHA512:
        raise ValueError(f"{_PACKAGE} has the sha512 {found}")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"


def read_names(package: Path) -> dict[str, list[str]]:
    """The languages' names, each with its aliases."""
    command = ["node", "--input-type=module", "--eval", _PRINT_NAMES]
    printed = subprocess.run(command, cwd=package.parent, check=True, capture_output=True)
    names: dict[str, list[str]] = json.loads(printed.stdout)
    return dict(sorted(names.items()))


def build() -> None:
    """Write the table, a line a language, and the licences of what it is made of."""
    with TemporaryDirectory() as folder:
        package = fetch(Path(folder))
        rows = [
            f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(aliases, ensure_ascii=False)}"
            for name, aliases in read_names(package).items()
        ]
        table = "{\n" + ",\n".join(rows) + "\n}\n"
        (DATA / "linguist.json").write_text(table, "utf-8")
        shutil.copy(package / "LICENSE", DATA / "LICENSE")
        shutil.copy(package / "ThirdPartyNoticeText.txt", DATA / "LICENSE-of-Linguist")


if __name__ == "__main__":
    build()
