"""The kernels of path search: the map as they see it, and a tree of cheapest ways to one destination.

A search grows a **tree** from a destination against the traffic and takes links in order of their cost to it. What a
link costs does not depend on the movement behind it, so the first link taken that it leads to is its best one: each
link is **reached** once and nothing is ever corrected. A node keeps its in-links that are not reached as bits of a
word, an out-link those that lead into it; what a taken link reaches is the bits that both have. A node without such
bits has no more to say. So a search over links costs no more than one over nodes, and respects turns as well.

Equal costs are decided by the place of the link on the map, so routes do not depend on threads, nor on who else asks.

Notes
-----
Source: Dijkstra (1959), A note on two problems in connexion with graphs, Numerische Mathematik 1; on links: Caldwell
(1961), On finding minimum routes in a network with turn penalties, Communications of the ACM 4(2).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulation.engine_fence import fetch
from simulation.engine_kernel import at, inner, kernel, part_of_kernel
from simulation.street import Records, whole
from twin.compiled import Float, Int

Long = npt.NDArray[np.int64]

ENDS, FORBIDDEN = -1, -2  # instead of a movement or of the place of the next link
LARGEST = np.int64(2**63 - 1)
BITS = 60  # in-links that one word has room for
SET_OFF = np.int64(1 << 61)  # the bit of those who start at the node: any out-link will do


class Map(NamedTuple):
    """The network as path search sees it: what lies near in the city lies near in memory.

    Nodes are numbered along a space-filling curve, links by the **place** of the node at which they end, so that the
    in-links of node n are the places ``in_start[n]:in_start[n + 1]`` and its bits the words
    ``word_start[n]:word_start[n + 1]``.
    """

    rank: Int  # number on the map of each node of the network
    place: Int  # of each link of the network
    link: Int  # of the network at each place
    from_node: Int
    end_node: Int
    in_start: Int
    out_start: Int
    out_place: Int
    word_start: Int
    unreached: Long  # the words of every node before a search
    led_start: Int
    led: Long  # by place from led_start on: words of the in-links of its first node that lead into it
    movement_start: Int
    movement_from: Int
    movement_to: Int
    allowed: Int  # rows of the movements that may be taken


# What a search looks at together lies together: three quarters of its time are waits for memory.
WORD = np.dtype(
    [
        ("unreached", "i8"),  # in-links that are not reached, and SET_OFF while somebody waits to start at the node
        ("asked", "i8"),  # in-links from whose end somebody asks
        ("best", "f8"),  # s of the node's best out-link in the heap; infinite once one was taken
        ("in_start", "i4"),  # place of the first bit
        ("end_word", "i4"),  # of the node
    ],
    align=True,
)
LINK = np.dtype(
    [
        ("distance", "f8"),  # s from the start of the link, once it is reached, to the destination
        ("cost", "f8"),
        ("next", "i4"),  # place of the link after it, or ENDS
        ("word", "i4"),  # first of the node at which it begins
        ("led", "i8"),  # of the first word's in-links those that lead into it
    ],
    align=True,
)


class Scratch(NamedTuple):
    """What one thread needs for a tree."""

    word: Records
    link: Records  # by place
    setting_off: Int  # place of the best first link of each node, at its first word, where somebody starts; else -1
    step: Long  # by place: where the movement at the end of the link stands in the path, -1: nowhere
    heap: Long
    settled: Int  # starts (word, or -1 - place), in the order in which they were settled


def scratch(chart: Map, cost: Float) -> Scratch:
    """Return what one thread needs for trees by the cost of the network's links."""
    n_links, n_words = len(chart.from_node), len(chart.unreached)
    word, link = np.zeros(n_words, WORD), np.zeros(n_links, LINK)
    node = np.repeat(np.arange(len(chart.rank)), np.diff(chart.word_start))
    word["unreached"], word["best"] = chart.unreached, math.inf
    word["in_start"] = chart.in_start[node] + BITS * (np.arange(n_words) - chart.word_start[node])
    word["end_word"] = chart.word_start[node + 1]
    link["cost"] = cost[chart.link]
    link["word"], link["led"] = chart.word_start[chart.from_node], chart.led[chart.led_start[:-1]]
    return Scratch(
        word=word,
        link=link,
        setting_off=np.full(n_words, -1, np.int32),
        step=np.full(n_links, -1, np.int64),
        heap=np.full(2 * n_links + 4, LARGEST),
        settled=np.zeros(n_links + n_words, np.int32),
    )


@inner
def push(heap: Long, n: int, key: int) -> int:
    """Put a number to ``n`` others, a heap in fours; return how many they are."""
    k = n
    while k > 0:
        parent = (k - 1) >> 2
        above = heap[at(parent)]
        if above <= key:
            break
        heap[at(k)] = above
        k = parent
    heap[at(k)] = key
    return n + 1


@inner
def pop(heap: Long, n: int) -> int:
    """Take out the first of ``n`` numbers; the three behind the last are LARGEST, so that all have four children.

    The least child is found without branches, which a processor would guess wrong half of the time.
    """
    n -= 1
    key = heap[at(n)]
    heap[at(n)] = LARGEST
    k, child = 0, 1
    while child < n:
        left = child + int(heap[at(child + 1)] < heap[at(child)])
        right = child + 2 + int(heap[at(child + 3)] < heap[at(child + 2)])
        best = left + (right - left) * int(heap[at(right)] < heap[at(left)])
        least = heap[at(best)]
        if least >= key:
            break
        heap[at(k)] = least
        k, child = best, 4 * best + 1
    heap[at(k)] = key if n > 0 else LARGEST
    return n


@inner
def _open(s: Scratch, first: int) -> bool:
    """Return whether any in-link of a node is not reached, or somebody still waits to start there."""
    first = at(first)
    bits = s.word[first].unreached
    for word in range(first + 1, s.word[first].end_word):
        bits |= s.word[at(word)].unreached
    return bool(bits != 0)


@part_of_kernel
def _matters(s: Scratch, first: int) -> bool:
    """Return whether somebody needs the in-links of a node that are not reached yet; mostly they lead back."""
    for number in range(first, s.word[at(first)].end_word):
        word = at(number)
        bits = s.word[word].unreached
        if bits & s.word[word].asked:
            return True
        place = at(s.word[word].in_start)
        while bits != 0:
            if bits & 1 and _open(s, at(s.link[at(place)].word)):
                return True
            bits >>= 1
            place += 1
    return False


@inner
def is_reached(chart: Map, place: int, s: Scratch) -> bool:
    """Return whether the link at ``place`` is reached."""
    node = at(chart.end_node[at(place)])
    number = place - chart.in_start[node]
    return bool((s.word[at(chart.word_start[node] + number // BITS)].unreached >> (number % BITS)) & 1 == 0)


@part_of_kernel
def tree(chart: Map, node: int, remaining: int, everywhere: bool, s: Scratch) -> int:
    """Fill ``s`` with the tree of ``node`` until ``remaining`` starts are settled; return how many are.

    Links that lead away from the destination are not followed unless somebody needs them, or ``everywhere``. The heap
    holds one number per link: the bits of its distance, which sort as distances do, the last of them replaced by the
    link's place. That halves the heap and decides between equals; distances that differ by less than 2^-32 of
    themselves count as equal in a network of a million links. Of a node's out-links only the best has a place in the
    heap, until it is taken and turns out not to be enough.
    """
    mask = np.int64(1)
    while mask < len(s.link):
        mask <<= 1
    mask -= 1
    n, n_settled = 0, 0
    for number in range(chart.word_start[at(node)], chart.word_start[at(node + 1)]):
        word = at(number)
        bits = s.word[word].unreached & ~SET_OFF
        s.word[word].unreached ^= bits
        asked = s.word[word].asked
        place = at(s.word[word].in_start)
        while bits != 0:
            place = at(place)
            away = s.link[place].cost
            s.link[place].distance = away
            s.link[place].next = ENDS
            if asked & 1:
                s.settled[at(n_settled)] = -1 - place
                n_settled += 1
            n = push(s.heap, n, (np.float64(away).view(np.int64) & ~mask) | place)
            bits >>= 1
            asked >>= 1
            place += 1
    while n > 0 and n_settled < remaining:
        taken = at(s.heap[0] & mask)
        n = pop(s.heap, n)
        first = at(s.link[taken].word)
        so_far, led, left = s.link[taken].distance, s.link[taken].led, False
        for number in range(first, s.word[first].end_word):
            word = at(number)
            if word > first:
                led = chart.led[at(chart.led_start[taken] + word - first)]
            bits = s.word[word].unreached & led
            if bits != 0:
                s.word[word].unreached ^= bits
                if bits & SET_OFF:
                    bits ^= SET_OFF
                    s.setting_off[first] = taken
                    s.settled[at(n_settled)] = first
                    n_settled += 1
                asked = s.word[word].asked
                place = at(s.word[word].in_start)
                while bits != 0:
                    if bits & 1:
                        place = at(place)
                        away = so_far + s.link[place].cost
                        s.link[place].distance = away
                        s.link[place].next = taken
                        if asked & 1:
                            s.settled[at(n_settled)] = -1 - place
                            n_settled += 1
                        start = at(s.link[place].word)
                        if away < s.word[start].best and _open(s, start):
                            s.word[start].best = away
                            fetch(s.link, s.word[start].in_start)
                            fetch(s.link, s.word[start].in_start + 2)
                            n = push(s.heap, n, (np.float64(away).view(np.int64) & ~mask) | place)
                    bits >>= 1
                    asked >>= 1
                    place += 1
            left = left or s.word[word].unreached != 0
        if not left:
            continue
        if not everywhere and not _matters(s, first):
            for word in range(first, s.word[first].end_word):
                s.word[at(word)].unreached = 0
        elif s.word[first].best < math.inf:  # what was not worth a place in the heap so far is now
            s.word[first].best = math.inf
            here = at(chart.from_node[taken])
            for k in range(chart.out_start[here], chart.out_start[here + 1]):
                place = at(chart.out_place[at(k)])
                if place != taken and is_reached(chart, place, s):
                    n = push(s.heap, n, (np.float64(s.link[place].distance).view(np.int64) & ~mask) | place)
    for k in range(n):
        s.heap[k] = LARGEST
    return n_settled


@part_of_kernel
def clear(chart: Map, s: Scratch) -> None:
    """Forget the tree."""
    for number in range(len(chart.unreached)):
        word = at(number)
        s.word[word].unreached = chart.unreached[word]
        s.word[word].best = math.inf


@inner
def movement_between(chart: Map, link: int, after: int) -> int:
    """Return the movement from one link to another."""
    for movement in range(chart.movement_start[at(link)], chart.movement_start[at(link + 1)]):
        if chart.movement_to[at(movement)] == after:
            return int(movement)
    return FORBIDDEN


@part_of_kernel
def _write(chart: Map, place: int, path: Int, used: int, s: Scratch) -> int:
    """Write the path from the end of a link behind ``path[:used]`` and return how much is used then, -1: too much."""
    while used < len(path):
        place = at(place)
        if s.step[place] < 0:
            s.step[place] = used
        after = whole(s.link[place].next)
        if after == ENDS:
            path[at(used)] = ENDS
            return used + 1
        path[at(used)] = movement_between(chart, chart.link[place], chart.link[at(after)])
        used += 1
        place = after
    return -1


@inner
def _ask(chart: Map, begin: int, s: Scratch) -> int:
    """Let the tree look for a start; return 1, or 0 when somebody has asked for it already."""
    if begin >= 0:
        word = whole(chart.word_start[begin])
        if s.word[word].unreached & SET_OFF:
            return 0
        s.word[word].unreached |= SET_OFF
        return 1
    place = -1 - begin
    node = chart.end_node[place]
    number = whole(place - chart.in_start[node])
    word, bit = chart.word_start[node] + number // BITS, np.int64(1) << (number % BITS)
    if s.word[word].asked & bit:
        return 0
    s.word[word].asked |= bit
    return 1


@inner
def _set_off(chart: Map, begin: int, s: Scratch) -> Any:
    """Return the place of the link by which one sets off from a start, -1 when there is no way."""
    return whole(s.setting_off[chart.word_start[begin]]) if begin >= 0 else -1 - begin


@inner
def _forget(chart: Map, begin: int, s: Scratch) -> None:
    """Forget a start, and the steps of its path."""
    place = _set_off(chart, begin, s)
    if begin >= 0:
        s.setting_off[chart.word_start[begin]] = -1
    else:
        node = chart.end_node[place]
        for word in range(chart.word_start[node], chart.word_start[node + 1]):
            s.word[word].asked = 0
    while place >= 0 and s.step[place] >= 0:
        s.step[place] = -1
        place = whole(s.link[place].next)


@kernel
def plan(
    chart: Map,
    start: Int,
    node: Int,
    order: Long,
    groups: Long,
    done: int,
    end: int,
    first: Int,
    step: Long,
    total: Float,
    path: Int,
    used: int,
    s: Scratch,
) -> tuple[int, int]:
    """Plan the groups ``done:end`` of requests; return how far it came before ``path`` was full, and what is used.

    A group are the requests of one destination, ``order[groups[g]:groups[g + 1]]``. A start >= 0 is a node, a start
    below is the end of the link at place ``-1 - start``. A route that lies on one already written is not written again;
    the starts that were settled last, which are the farthest, are therefore written first.
    """
    for group in range(done, end):
        remaining = 0
        for k in range(groups[group], groups[group + 1]):
            remaining += _ask(chart, whole(start[order[k]]), s)
        n_settled = tree(chart, whole(node[order[groups[group]]]), remaining, False, s)
        now = used
        for k in range(n_settled - 1, -1, -1):
            begin = whole(s.settled[k])
            place = whole(s.setting_off[begin]) if begin >= 0 else -1 - begin
            if s.step[place] < 0:
                now = _write(chart, place, path, now, s)
                if now < 0:
                    break
        for k in range(groups[group], groups[group + 1]):
            row = order[k]
            begin = whole(start[row])
            place = _set_off(chart, begin, s)
            first[row], step[row], total[row] = -1, 0, math.inf
            if now < 0 or place < 0 or s.step[place] < 0:
                continue
            first[row], step[row], total[row] = chart.link[place], s.step[place], s.link[place].distance
            if begin < 0:
                total[row] = s.link[s.link[place].next].distance if s.link[place].next != ENDS else 0.0
        for k in range(groups[group], groups[group + 1]):
            _forget(chart, whole(start[order[k]]), s)
        clear(chart, s)
        if now < 0:
            return group, used
        used = now
    return end, used
