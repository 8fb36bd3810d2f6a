"""The order of a repository's files in which dependencies come first."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple


class Placed(NamedTuple):
    """A file's place.

    Attributes:
        file: Its index.
        component: Its part of the graph, which no edge connects with another: in the order of
            writing, from 0.
        in_cycle: Whether it depends on itself through others.
    """

    file: int
    component: int
    in_cycle: bool


def order_by_dependencies(depends_on: Sequence[Sequence[int]], keys: Sequence[Any]) -> list[Placed]:
    """Order files so that each comes after what it depends on, as far as no cycle forbids it.

    Weakly connected parts follow one another by their smallest key. In each, of the files that
    depend on nothing more, the one with the smallest key is next; the files of a cycle count as
    one, with their smallest key. Inside of these, as in Algorithm 1 of DeepSeek-Coder (arXiv
    2401.14196), the file is next that depends on the fewest of those left, and of several the one
    with the smallest key.

    Args:
        depends_on: The files that each file depends on, by index, never itself.
        keys: Each file's, comparable, and equal only for files that are the same. Permuting the
            files changes nothing but which of the same ones is meant.
    """
    import networkx as nx

    by_key = sorted(range(len(keys)), key=keys.__getitem__)
    rank = {file: place for place, file in enumerate(by_key)}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(keys)))
    graph.add_edges_from(
        (rank[other], rank[file]) for file, others in enumerate(depends_on) for other in others
    )
    cycles = nx.condensation(graph)
    members: dict[int, set[int]] = nx.get_node_attributes(cycles, "members")
    first = {cycle: min(ranks) for cycle, ranks in members.items()}
    parts = ({first[cycle] for cycle in part} for part in nx.weakly_connected_components(cycles))
    component_of = {
        rank: number for number, part in enumerate(sorted(parts, key=min)) for rank in part
    }
    # Of one sort over all parts, what belongs to a part is in the order of the part's own sort.
    ordered = sorted(
        nx.lexicographical_topological_sort(cycles, key=first.__getitem__),
        key=lambda cycle: component_of[first[cycle]],
    )
    return [
        Placed(by_key[rank], component_of[first[cycle]], len(members[cycle]) > 1)
        for cycle in ordered
        for rank in _fewest_first(graph.succ, graph.pred, members[cycle])
    ]


def _fewest_first(
    dependents: Mapping[int, Iterable[int]],
    dependencies: Mapping[int, Iterable[int]],
    members: Collection[int],
) -> Iterator[int]:
    """Members one after the other, each the one that depends on the fewest of those left."""
    left = {member: sum(other in members for other in dependencies[member]) for member in members}
    waiting = [(count, member) for member, count in left.items()]
    heapify(waiting)
    while waiting:
        count, member = heappop(waiting)
        if left.get(member) != count:
            continue  # it has come, or has stood for fewer since
        del left[member]
        yield member
        for dependent in left.keys() & dependents[member]:
            left[dependent] -= 1
            heappush(waiting, (left[dependent], dependent))
