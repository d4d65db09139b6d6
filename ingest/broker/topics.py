"""Topic names and filters: what is legal, what matches what, who subscribed, what is retained.

A *topic* is a path of levels separated by ``/``; a *filter* may hold ``+`` (any one level) and, as its last level,
``#`` (this level and all below). Filters that begin with a wildcard do not match topics that begin with ``$``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def topic_fault(topic: str, *, max_levels: int) -> str | None:
    """Return why a topic cannot be published to, or None.

    Examples
    --------
    >>> topic_fault("city/+/x", max_levels=9)
    "topic 'city/+/x' holds a wildcard"
    """
    if not topic:
        return "topic is empty"
    if "+" in topic or "#" in topic:
        return f"topic {topic[:80]!r} holds a wildcard"
    if topic.count("/") >= max_levels:
        return f"topic {topic[:80]!r} has {topic.count('/') + 1} levels, at most {max_levels} are taken"
    return None


def filter_fault(text: str, *, max_levels: int) -> str | None:
    """Return why a topic filter is not legal, or None.

    Examples
    --------
    >>> filter_fault("city/#/x", max_levels=9)
    "filter 'city/#/x': '#' must be the last level, alone"
    """
    if not text:
        return "filter is empty"
    levels = text.split("/")
    if len(levels) > max_levels:
        return f"filter {text[:80]!r} has {len(levels)} levels, at most {max_levels} are taken"
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        return f"filter {text[:80]!r}: '#' must be the last level, alone"
    if any("+" in level and level != "+" for level in levels):
        return f"filter {text[:80]!r}: '+' must stand alone in its level"
    return None


SHARE = "$share/"


def split_share(text: str) -> tuple[str, str]:
    """Return the group (empty: none) and the filter of a subscription.

    Raises
    ------
    ValueError
        When it begins as a shared subscription and is none.

    Examples
    --------
    >>> split_share("$share/ingest/city/#"), split_share("city/#")
    (('ingest', 'city/#'), ('', 'city/#'))
    """
    if not text.startswith(SHARE):
        return "", text
    group, slash, below = text[len(SHARE) :].partition("/")
    if not group or not slash or not below or "+" in group or "#" in group:  # in 5: 4.8.2-1, -2
        raise ValueError(f"filter {text[:80]!r} is not $share/GROUP/FILTER")
    return group, below


def covers(wide: str, narrow: str) -> bool:
    """Return whether every topic that one filter matches is matched by another.

    Examples
    --------
    >>> covers("city/#", "city/+/d1"), covers("city/+/d1", "city/#"), covers("+/a", "$SYS/a")
    (True, False, False)
    """
    wanted, levels = wide.split("/"), narrow.split("/")
    if narrow.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for k, level in enumerate(wanted):
        if level == "#":
            return True
        if k >= len(levels) or levels[k] == "#" or (level != "+" and level != levels[k]):
            return False
    return len(wanted) == len(levels)


def matches(text: str, topic: str) -> bool:
    """Return whether a filter matches a topic.

    Examples
    --------
    >>> matches("city/+/speed/#", "city/上城区/speed"), matches("#", "$SYS/broker")
    (True, False)
    """
    wanted, levels = text.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for k, level in enumerate(wanted):
        if level == "#":
            return True
        if k >= len(levels) or (level != "+" and level != levels[k]):
            return False
    return len(wanted) == len(levels)


@dataclass(slots=True)
class _Branch(Generic[K, V]):
    children: "dict[str, _Branch[K, V]]" = field(default_factory=dict)
    values: dict[K, V] = field(default_factory=dict)


class TopicTree(Generic[K, V]):
    """Values by topic or filter, found in both directions without looking at every entry.

    Examples
    --------
    >>> tree = TopicTree()
    >>> tree.put("city/#", "ingest", 1)
    >>> tree.put("city/+/d1", "map", 0)
    >>> sorted(tree.filters_matching("city/old/d1"))
    [('ingest', 1), ('map', 0)]
    """

    def __init__(self) -> None:
        self._root: _Branch[K, V] = _Branch()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, path: str, key: K, value: V) -> None:
        """Store a value under a path and a key, in place of an earlier one."""
        branch = self._root
        for level in path.split("/"):
            branch = branch.children.setdefault(level, _Branch())
        self._size += key not in branch.values
        branch.values[key] = value

    def drop(self, path: str, key: K) -> None:
        """Forget a value, and the branches that only led to it."""
        levels = path.split("/")
        trail = [self._root]
        for level in levels:
            below = trail[-1].children.get(level)
            if below is None:
                return
            trail.append(below)
        if key not in trail[-1].values:
            return
        del trail[-1].values[key]
        self._size -= 1
        for above, level in zip(reversed(trail[:-1]), reversed(levels), strict=True):
            branch = above.children[level]
            if branch.children or branch.values:
                break
            del above.children[level]

    def filters_matching(self, topic: str) -> Iterator[tuple[K, V]]:
        """Yield what is stored under the filters that match a topic."""
        levels = topic.split("/")
        branches = [self._root]
        for k, level in enumerate(levels):
            wild = k > 0 or not topic.startswith("$")
            below = []
            for branch in branches:
                children = branch.children
                if level in children:
                    below.append(children[level])
                if wild and "+" in children:
                    below.append(children["+"])
                if wild and "#" in children:
                    yield from children["#"].values.items()
            branches = below
        for branch in branches:
            yield from branch.values.items()
            if "#" in branch.children:  # "city/#" matches "city" as well
                yield from branch.children["#"].values.items()

    def topics_matching(self, text: str) -> Iterator[tuple[K, V]]:
        """Yield what is stored under the topics that a filter matches."""
        branches = [self._root]
        for k, level in enumerate(text.split("/")):
            if level == "#":
                stack = branches if k else [b for name, b in self._root.children.items() if not name.startswith("$")]
                stack = list(reversed(stack))
                while stack:
                    branch = stack.pop()
                    yield from branch.values.items()
                    stack.extend(reversed(branch.children.values()))
                return
            if level == "+":
                branches = [
                    below
                    for branch in branches
                    for name, below in branch.children.items()
                    if k or not name.startswith("$")
                ]
            else:
                branches = [b.children[level] for b in branches if level in b.children]
        for branch in branches:
            yield from branch.values.items()
