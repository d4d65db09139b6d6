"""The compiled network: arrays of link attributes and adjacency, which the kernels use. SI units throughout."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CompiledNetwork:
    """A network as machines run it; made by `twin.network.Network.compile`, arrays not writeable.

    Adjacency is compressed: the out-links of node ``n`` are ``out_link[out_start[n]:out_start[n + 1]]``.

    Parameters
    ----------
    node_ids, link_ids
        Ids in the order of the arrays.
    node_xy : (n_nodes, 2) m
        East and north of ``origin``.
    from_node, to_node : (n_links,)
        Node positions.
    length : (n_links,) m
    lanes : (n_links,)
    free_speed, wave_speed : (n_links,) m/s
        The wave speed is positive.
    jam_density : (n_links,) veh/m over all lanes
    capacity : (n_links,) veh/s over all lanes, never above the triangle's top ``v w k / (v + w)``
    priority : (n_links,)
        Share of an in-link at a merge, proportional; capacity unless given.
    link_class : (n_links,)
        0 motorway or ring, 1 arterial, 2 collector, 3 local.
    movement_start, movement_out, movement_group
        Allowed movements of in-link ``l`` are rows ``movement_start[l]:movement_start[l + 1]``; ``movement_out`` is
        the out-link, ``movement_group`` the lane group as a row of the group arrays.
    group_start, group_lanes, group_pocket
        Lane groups of link ``l`` are rows ``group_start[l]:group_start[l + 1]``; lanes of each, and the length (m) of
        its pocket (infinite: the whole link).
    origin : (2,) degrees
        Longitude and latitude of (0, 0).
    """

    node_ids: tuple[str, ...]
    link_ids: tuple[str, ...]
    node_xy: Float
    from_node: Int
    to_node: Int
    length: Float
    lanes: Int
    free_speed: Float
    wave_speed: Float
    jam_density: Float
    capacity: Float
    priority: Float
    link_class: Int
    out_start: Int
    out_link: Int
    in_start: Int
    in_link: Int
    movement_start: Int
    movement_out: Int
    movement_group: Int
    group_start: Int
    group_lanes: Float
    group_pocket: Float
    origin: Float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.node_ids)

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.link_ids)
