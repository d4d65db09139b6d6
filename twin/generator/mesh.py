"""A planar mesh of straight edges whose faces can be split: the plan of a city before it is laid on the ground.

A vertex of degree two is a shape point, any other a junction. Because every edge is added inside one face, no two
edges can cross.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

MOTORWAY, ARTERIAL, COLLECTOR, LOCAL = range(4)


@dataclass(slots=True)
class Edge:
    """What is known of an edge: its road class, the line or cut it was drawn with, and whether it is a bridge."""

    road_class: int
    line: int
    bridge: bool = False


@dataclass(slots=True)
class Mesh:
    """Vertices, edges and faces; a face is its vertices, anticlockwise.

    Parameters
    ----------
    x, y : (n_vertices,) m
        Place in the plan.
    neighbours
        Vertices joined to each vertex.
    edges
        By their two vertices, the smaller first.
    faces
        Vertices of each face.
    face_left
        Face on the left of the directed edge (a, b).
    """

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    neighbours: list[set[int]] = field(default_factory=list)
    edges: dict[tuple[int, int], Edge] = field(default_factory=dict)
    faces: dict[int, list[int]] = field(default_factory=dict)
    face_left: dict[tuple[int, int], int] = field(default_factory=dict)
    next_face: int = 0

    def add_vertex(self, x: float, y: float) -> int:
        """Return the number of a new vertex without edges."""
        self.x.append(x)
        self.y.append(y)
        self.neighbours.append(set())
        return len(self.x) - 1

    def edge(self, a: int, b: int) -> Edge:
        """Return the edge between two vertices."""
        return self.edges[min(a, b), max(a, b)]

    def add_edge(self, a: int, b: int, edge: Edge) -> None:
        """Join two vertices; a second edge between them is ignored."""
        if self.edges.setdefault((min(a, b), max(a, b)), edge) is edge:
            self.neighbours[a].add(b)
            self.neighbours[b].add(a)

    def add_face(self, loop: Sequence[int]) -> int:
        """Return the number of a new face whose edges exist."""
        number = self.next_face
        self.next_face += 1
        self.faces[number] = list(loop)
        for a, b in zip(loop, [*loop[1:], loop[0]], strict=True):
            self.face_left[a, b] = number
        return number

    def length(self, a: int, b: int) -> float:
        """Return the distance of two vertices, m."""
        return math.hypot(self.x[b] - self.x[a], self.y[b] - self.y[a])

    def split_edge(self, a: int, b: int, x: float, y: float) -> int:
        """Return a new vertex at (x, y) that divides the edge between a and b."""
        edge = self.edges.pop((min(a, b), max(a, b)))
        self.neighbours[a].discard(b)
        self.neighbours[b].discard(a)
        v = self.add_vertex(x, y)
        self.add_edge(a, v, edge)
        self.add_edge(v, b, Edge(edge.road_class, edge.line, edge.bridge))
        for start, end in ((a, b), (b, a)):
            face = self.face_left.pop((start, end), None)
            if face is not None:
                loop = self.faces[face]
                loop.insert(loop.index(start) + 1, v)
                self.face_left[start, v] = self.face_left[v, end] = face
        return v

    def common_face(self, a: int, b: int) -> int | None:
        """Return the face that has both vertices, or None."""
        for other in sorted(self.neighbours[a]):
            face = self.face_left.get((a, other))
            if face is not None and b in self.faces[face]:
                return face
        return None

    def split_face(self, face: int, path: Sequence[int], road_class: int, line: int) -> tuple[int, int]:
        """Return the two faces made by a path of vertices whose first and last lie on the face's boundary."""
        loop = self.faces.pop(face)
        start = loop.index(path[0])
        loop = loop[start:] + loop[:start]
        end = loop.index(path[-1])
        for a, b in itertools.pairwise(path):
            self.add_edge(a, b, Edge(road_class, line))
        inner = list(path[1:-1])
        return self.add_face(loop[: end + 1] + inner[::-1]), self.add_face([*loop[end:], loop[0], *inner])

    def remove_face(self, face: int) -> None:
        """Take away a face and the sides that no other face has."""
        loop = self.faces.pop(face)
        for a, b in zip(loop, [*loop[1:], loop[0]], strict=True):
            del self.face_left[a, b]
            if (b, a) not in self.face_left:
                del self.edges[min(a, b), max(a, b)]
                self.neighbours[a].discard(b)
                self.neighbours[b].discard(a)

    def area_and_centroid(self, face: int) -> tuple[float, float, float]:
        """Return area (m²) and centroid (m) of a face."""
        loop = self.faces[face]
        x0, y0 = self.x[loop[0]], self.y[loop[0]]
        area = sum_x = sum_y = 0.0
        for a, b in itertools.pairwise(loop[1:]):
            ax, ay, bx, by = self.x[a] - x0, self.y[a] - y0, self.x[b] - x0, self.y[b] - y0
            cross = ax * by - ay * bx
            area += cross
            sum_x += cross * (ax + bx)
            sum_y += cross * (ay + by)
        if area == 0.0:
            return 0.0, x0, y0
        return area / 2, x0 + sum_x / (3 * area), y0 + sum_y / (3 * area)
