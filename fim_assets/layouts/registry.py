"""The array layouts that a recipe may name, and the names that files of any of them may have.

What is asked of all layouts is asked when it is needed, never when a module is loaded: a layout
that is registered later counts too.
"""

from itertools import chain

from fim_assets.layouts.base import Layout
from fim_assets.layouts.datatrove import DATATROVE
from fim_assets.layouts.dolma import DOLMA
from fim_assets.layouts.megatron import MEGATRON

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (DOLMA, MEGATRON, DATATROVE)}


def array_endings() -> tuple[str, ...]:
    """How names of array files end, in any layout, behind a partition's key, `-` and a number."""
    return tuple(dict.fromkeys(chain.from_iterable(layout.endings for layout in LAYOUTS.values())))


def array_folders() -> tuple[str, ...]:
    """Folders next to `token_arrays` that hold files of its arrays, in any layout."""
    folders = (layout.mask_folder for layout in LAYOUTS.values())
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None))
