"""A made-up city for the cockpit's stub server: a bent grid with a river, and numbers that look alive."""

import math
import struct
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

ORIGIN = (120.15, 30.27)
METRES_PER_DEGREE = 111319.49
SPACING_M = 330.0

STREETS = [
    ("Wenyi Road", "文一路"),
    ("Moganshan Road", "莫干山路"),
    ("Tianmushan Road", "天目山路"),
    ("Jiaogong Road", "教工路"),
    ("Gudun Road", "古墩路"),
    ("Qingchun Road", "庆春路"),
    ("Zhongshan Road", "中山路"),
    ("Jiefang Road", "解放路"),
    ("Yan'an Road", "延安路"),
    ("Fengqi Road", "凤起路"),
    ("Tiyuchang Road", "体育场路"),
    ("Huancheng Road", "环城路"),
]


@dataclass
class StubCity:
    """Links of a ``side`` x ``side`` grid, both directions, with classes, names and a live picture."""

    side: int
    link_ids: list[str] = field(default_factory=list)
    names_en: list[str] = field(default_factory=list)
    names_zh: list[str] = field(default_factory=list)
    link_class: list[int] = field(default_factory=list)
    shapes: list[list[tuple[float, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        half = (self.side - 1) / 2
        for across in (True, False):
            for line in range(self.side):
                rank = 0 if line % 6 == 3 else 1 if line % 3 == 0 else 2 if line % 2 == 0 else 3
                en, zh = STREETS[(line * (1 if across else 5) + (0 if across else 3)) % len(STREETS)]
                for step in range(self.side - 1):
                    a = (step, line) if across else (line, step)
                    b = (step + 1, line) if across else (line, step + 1)
                    points = [self._place(a, b, k / 3, half) for k in range(4)]
                    for shape, mark in ((points, "f"), (points[::-1], "b")):
                        self.link_ids.append(f"{'h' if across else 'v'}{line}-{step}{mark}")
                        self.names_en.append(en if rank < 3 else "")
                        self.names_zh.append(zh if rank < 3 else "")
                        self.link_class.append(rank)
                        self.shapes.append(shape)
        n = len(self.link_ids)
        random = np.random.default_rng(7)
        self.source: npt.NDArray[np.uint8] = random.choice([0, 1, 2], n, p=[0.2, 0.5, 0.3]).astype(np.uint8)
        self.ratio: npt.NDArray[np.uint8] = np.zeros(n, np.uint8)
        self.fixed: dict[int, int] = {}
        self.tick(0.0)

    @staticmethod
    def _place(a: tuple[int, int], b: tuple[int, int], share: float, half: float) -> tuple[float, float]:
        u = a[0] + share * (b[0] - a[0]) - half
        v = a[1] + share * (b[1] - a[1]) - half
        x = u * SPACING_M + 60 * math.sin(v / 1.7) + 25 * math.sin(u * 1.1)
        y = v * SPACING_M + 70 * math.sin(u / 2.1) + 20 * math.cos(v * 1.3)
        return x, y

    @property
    def n_links(self) -> int:
        """How many directed links the city has."""
        return len(self.link_ids)

    def tick(self, time_s: float) -> None:
        """Move the picture on: a jam near the centre that breathes, noise elsewhere, some links without data."""
        middles = np.array([shape[1] for shape in self.shapes])
        distance = np.hypot(middles[:, 0] - 400, middles[:, 1] - 200)
        jam = 0.75 * np.exp(-((distance / 700) ** 2)) * (0.85 + 0.15 * math.sin(time_s / 60))
        noise = 0.06 * np.sin(time_s / 20 + np.arange(self.n_links) * 2.4)
        slow = 0.12 * (np.asarray(self.link_class) < 2)
        ratio = np.clip(0.97 - jam - slow - np.abs(noise), 0.02, 1.0)
        self.ratio = np.round(250 * ratio).astype(np.uint8)
        self.ratio[np.arange(self.n_links) % 41 == 5] = 255
        for link, value in self.fixed.items():
            self.ratio[link] = value
            self.source[link] = 2

    def geometry(self) -> bytes:
        """Shape of all links as ``CTG1``."""
        offsets = np.concatenate([[0], np.cumsum([len(shape) for shape in self.shapes])]).astype("<u4")
        xy = np.array([point for shape in self.shapes for point in shape], dtype="<f4")
        header = b"CTG1" + struct.pack("<3I", self.n_links, len(xy), 0)
        return header + offsets.tobytes() + xy.tobytes() + bytes(self.link_class)

    def network(self, *, demo: bool = True) -> dict[str, object]:
        """What ``GET /network`` answers."""
        points = [point for shape in self.shapes for point in shape]
        (w, s), (e, n) = (self.lonlat(*(f(p[k] for p in points) for k in (0, 1))) for f in (min, max))
        return {
            "name": "Qianjiang",
            "name_zh": "钱江新城",
            "network_sha256": f"stub-{self.side}",
            "n_nodes": self.side**2,
            "n_links": self.n_links,
            "origin": list(ORIGIN),
            "bounds": [w, s, e, n],
            "link_ids": self.link_ids,
            "link_names_en": self.names_en,
            "link_names_zh": self.names_zh,
            "link_class": self.link_class,
            "notes": [
                "Made-up city for the development of the cockpit.",
                "Lanes and signals are placeholders <b>here</b>.",
            ],
            "demo": demo,
            "timezone": "Asia/Shanghai",
            "clock_factor": None,
        }

    @staticmethod
    def lonlat(x: float, y: float) -> list[float]:
        """Degrees of a place in metres from the origin."""
        lon, lat = ORIGIN
        return [lon + x / (math.cos(math.radians(lat)) * METRES_PER_DEGREE), lat + y / METRES_PER_DEGREE]

    def base(self) -> dict[str, object]:
        """River, park and a few buildings."""
        half = self.side * SPACING_M / 2
        river = [(x, 0.3 * half + 120 * math.sin(x / 500)) for x in np.linspace(-1.3 * half, 1.3 * half, 60)]
        banks = river + [(x, y + 150 + 30 * math.sin(x / 260)) for x, y in reversed(river)]
        park = [(-620 + 210 * math.cos(a), -640 + 150 * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 24)]
        areas: list[tuple[str, list[tuple[float, float]]]] = [("water", banks), ("park", park)]
        for k in range(160):
            x, y = -half + (k * 389) % (2 * half), -half + (k * 727) % (2 * half)
            areas.append(("building", [(x, y), (x + 60, y), (x + 60, y + 40), (x, y + 40)]))
        features = [
            {
                "type": "Feature",
                "properties": {"kind": kind, "height_m": 20},
                "geometry": {"type": "Polygon", "coordinates": [[self.lonlat(*p) for p in [*ring, ring[0]]]]},
            }
            for kind, ring in areas
        ]
        return {"type": "FeatureCollection", "features": features}
