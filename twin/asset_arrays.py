"""The dependency graph as arrays, and the passes over them that answer for 100,000 assets in milliseconds.

Every asset is two *states*: it works (position ``i``), and it is heard (``n + i``), which it is while it works and its
lines do. Comms carry only the second: a signal without its line goes on by itself, a detector is of no use. A *group*
is a set of members of which one is enough; a dependency of need ``all`` is a group of its own. A state is lost once
every member of one of its groups is lost and the battery that bridges it is empty.

States that need each other in a circle (a ring of feeders) are a *part* of their own. Where every circle has a supply
from outside and something to choose, nothing in it lives on what it feeds itself: it is lost with its last supply from
outside, and a battery in it keeps its own asset alone. A circle that could never have started (A needs B, B needs A) is
taken as running, and `validate` says so.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from twin.assets import AssetGraph

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.integer[Any]]  # those that are walked most are short, to stay in the cache
Bool = npt.NDArray[np.bool_]

NEVER = np.inf


@dataclass(frozen=True, slots=True)
class AssetArrays:
    """States, groups and their members; positions throughout.

    Parameters
    ----------
    n
        How many assets there are; there are twice as many states.
    group_of : (2 n + 1,)
        Groups of a state: from ``group_of[state]`` until ``group_of[state + 1]``.
    start : (n_groups + 1,)
        Members of a group, likewise.
    member : (n_members,) states
    autonomy : (n_members,) s
        How long the group's owner lives on without this member.
    dependency : (n_members,)
        Position of the dependency that says so, -1 where an asset is heard because it works.
    owner : (n_groups,) states
    used_start : (2 n + 1,)
        Uses of a state as a member of a group, by state.
    used_owner, used_group, used_ring, used_autonomy : (n_members,)
        Of each use the state that owns the group; the group, -1 when it has no other member; the part of the owner, -1
        unless it is a founded one; the autonomy.
    order : (2 n,) states
        What a state needs comes before it, or with it in the same part.
    part_start : (n_parts + 1,)
        Parts of ``order``.
    part : (2 n,)
        Part of each state.
    founded : (n_parts,)
        Whether the part has more than one state and could have started.
    """

    n: int
    group_of: Int
    start: Int
    member: Int
    autonomy: Float
    dependency: Int
    owner: Int
    used_start: Int
    used_owner: Int
    used_group: Int
    used_ring: Int
    used_autonomy: Float
    order: Int
    part_start: Int
    part: Int
    founded: Bool

    def lost(self, own: Float) -> tuple[Float, Int]:
        """Return when each state is lost, and by which member of a group.

        Parameters
        ----------
        own : (n,) s
            When each asset fails by itself, infinite for those that do not.

        Returns
        -------
        time : (2 n,) s
        cause : (2 n,)
            Position of the member that was lost last, -1 for what failed by itself or lives.
        """
        from twin.asset_passes import times_lost

        alone = np.full(2 * self.n, NEVER)
        alone[: self.n] = own
        return times_lost(
            alone, self.group_of, self.start, self.member, self.autonomy, self.used_start, self.used_owner, self.order,
            self.part_start, self.part, self.founded,
        )  # fmt: skip

    def fallen(self, assets: Int, *, at_once: bool = False) -> list[Int]:
        """Return the states that are lost with each asset alone, in the order in which they fall; it comes first.

        Parameters
        ----------
        assets
            Positions, each once.
        at_once
            Without those that a battery bridges for a while.
        """
        from twin.asset_falls import fall, scratch

        work = scratch(2 * self.n, len(self.owner))
        return [
            work[0][: fall(asset, at_once, np.zeros(0, np.bool_), work, self.columns)].astype(np.int64)
            for asset in assets.tolist()
        ]

    def above(self, dark: Bool) -> Bool:
        """Return (2 n,) the states that some of the dark assets (n,) have or need, directly or not."""
        from twin.asset_falls import above

        return above(dark, self.start[self.group_of], self.member)

    def falls(self, weight: Float) -> tuple[Int, Int, Float]:
        """Return what falls with each asset alone, batteries empty.

        Parameters
        ----------
        weight : (n,)
            What an asset is worth when it is neither lost nor unheard.

        Returns
        -------
        lost, unheard : (n,)
            How many other assets stop to work; how many work on, unheard.
        worth : (n,)
            Sum of the weights of both, its own not counted.
        """
        from twin.asset_falls import count_falls

        return count_falls(weight, self.columns)

    @property
    def columns(self) -> tuple[Any, ...]:
        """The arrays in the order in which the kernels of `twin.asset_falls` unpack them."""
        return (
            self.group_of, self.start, self.member, self.autonomy, self.used_start, self.used_owner, self.used_group,
            self.used_ring, self.used_autonomy, self.order, self.part_start, self.part,
        )  # fmt: skip


def compile_assets(graph: "AssetGraph") -> AssetArrays:
    """Return the arrays of a dependency graph; takes about a second for 100,000 assets."""
    position = {name: i for i, name in enumerate(graph.assets)}
    n = len(position)
    key: dict[tuple[int, str], int] = {}
    owner: list[int] = list(range(n, 2 * n))  # an asset is heard only while it works
    rows: list[tuple[int, int, float, int]] = [(k, k, 0.0, -1) for k in range(n)]
    for number, need in enumerate(graph.dependencies):
        if need.asset_id == need.depends_on:
            continue  # taken as running, as every circle that could not have started
        heard = n * (need.kind == "comms")
        of, to = position[need.asset_id] + heard, position[need.depends_on] + heard
        group = len(owner) if need.need == "all" else key.setdefault((of, need.group), len(owner))
        if group == len(owner):
            owner.append(of)
        rows.append((group, to, need.autonomy_s, number))
    table = np.array(rows, np.float64).reshape(-1, 4)
    return _arrays(n, np.array(owner, np.int64), table)


def _arrays(n: int, owner: Int, table: Float) -> AssetArrays:
    """Arrange groups by owner and members by group; a member that is named twice counts once, with its longest time."""
    from twin.asset_passes import founded_parts, parts_of  # who only reads a network does not pay for numba

    by_owner = np.argsort(owner, kind="stable")
    rank = np.empty(len(owner), np.int64)
    rank[by_owner] = np.arange(len(owner))
    group, member, autonomy, dependency = rank[table[:, 0].astype(np.int64)], *table[:, 1:].T
    rows = np.lexsort((-autonomy, member, group))
    group, member = group[rows], member[rows].astype(np.int64)
    once = np.concatenate([[True], (np.diff(group) != 0) | (np.diff(member) != 0)])[: len(rows)]
    group, member, autonomy, dependency = group[once], member[once], autonomy[rows][once], dependency[rows][once]
    owner = owner[by_owner]
    group_of = np.searchsorted(owner, np.arange(2 * n + 1))
    start = np.searchsorted(group, np.arange(len(owner) + 1))
    used = np.argsort(member, kind="stable")
    order, part_start, part = parts_of(start[group_of], member)
    founded = founded_parts(group_of, start, member, autonomy, order, part_start, part)
    used_owner = owner[group[used]].astype(np.int32)
    used_ring = np.where(founded[part[used_owner]], part[used_owner], -1).astype(np.int32)
    used_group = np.where(np.diff(start)[group[used]] > 1, group[used], -1).astype(np.int32)
    return AssetArrays(
        n=n, group_of=group_of, start=start, member=member, autonomy=autonomy, dependency=dependency.astype(np.int64),
        owner=owner, used_owner=used_owner, used_ring=used_ring,
        used_start=np.searchsorted(member[used], np.arange(2 * n + 1)), used_group=used_group,
        used_autonomy=autonomy[used], order=order, part_start=part_start, part=part, founded=founded,
    )  # fmt: skip
