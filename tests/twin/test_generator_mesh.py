"""The planar mesh behind the generated city."""

import pytest

from twin.generator.mesh import ARTERIAL, LOCAL, Edge, Mesh


@pytest.fixture
def square() -> Mesh:
    mesh = Mesh()
    corners = [mesh.add_vertex(x, y) for x, y in ((0, 0), (100, 0), (100, 100), (0, 100))]
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
        mesh.add_edge(a, b, Edge(ARTERIAL, 0))
    mesh.add_face(corners)
    return mesh


def test_a_cut_divides_a_face_into_two_that_have_its_area(square: Mesh) -> None:
    left = square.split_edge(0, 1, 30.0, 0.0)
    right = square.split_edge(2, 3, 30.0, 100.0)
    bend = square.add_vertex(40.0, 50.0)
    halves = square.split_face(0, [left, bend, right], LOCAL, 1)
    areas = sorted(square.area_and_centroid(face)[0] for face in halves)
    assert areas == pytest.approx([3_500.0, 6_500.0])
    assert square.edge(left, bend).road_class == LOCAL
    assert square.edge(0, left).road_class == ARTERIAL
    assert square.common_face(0, 3) in halves
    assert square.common_face(1, 3) is None


def test_an_edge_divided_on_one_side_is_divided_on_the_other(square: Mesh) -> None:
    a, b = square.split_edge(0, 1, 50.0, 0.0), square.split_edge(2, 3, 50.0, 100.0)
    one, two = square.split_face(0, [a, b], LOCAL, 1)
    middle = square.split_edge(a, b, 50.0, 50.0)
    assert middle in square.faces[one]
    assert middle in square.faces[two]
    assert square.length(a, middle) == 50.0


def test_taking_away_a_face_leaves_the_sides_it_shares(square: Mesh) -> None:
    a, b = square.split_edge(0, 1, 50.0, 0.0), square.split_edge(2, 3, 50.0, 100.0)
    one, two = square.split_face(0, [a, b], LOCAL, 1)
    square.remove_face(one)
    assert (min(a, b), max(a, b)) in square.edges
    assert len(square.edges) == 4
    square.remove_face(two)
    assert square.edges == {}
