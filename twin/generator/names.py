"""Invented names in Chinese and English: a street keeps its name from end to end."""

import math
from dataclasses import dataclass

import numpy as np

from twin.generator.mesh import ARTERIAL, COLLECTOR, LOCAL, MOTORWAY
from twin.generator.plan import Plan
from twin.generator.roads import Roads

Name = tuple[str, str]  # English, Chinese

CITIES: tuple[Name, ...] = (
    ("Yunlan", "云澜"),
    ("Qingzhu", "清渚"),
    ("Linlan", "临岚"),
    ("Hengpu", "蘅浦"),
    ("Yanhe", "砚河"),
    ("Tingxi", "汀溪"),
    ("Luyuan", "鹭原"),
)
RIVERS: tuple[Name, ...] = (("Lan River", "澜江"), ("Yan River", "砚江"), ("Heng River", "蘅江"), ("Su River", "溯江"))
LAKES: tuple[Name, ...] = (
    ("Crescent Lake", "月牙湖"),
    ("Willow Lake", "柳浪湖"),
    ("Crane Lake", "鹤汀湖"),
    ("Mirror Lake", "镜湖"),
)
DISTRICTS: tuple[tuple[str, str, str], ...] = (
    ("gucheng", "Gucheng", "古城区"),
    ("donghu", "Donghu", "东湖区"),
    ("xiling", "Xiling", "西岭区"),
    ("nanpu", "Nanpu", "南浦区"),
    ("linjiang", "Linjiang", "临江区"),
)
_FIRST = (
    "文 Wen 云 Yun 清 Qing 松 Song 竹 Zhu 梅 Mei 桂 Gui 望 Wang 听 Ting 凤 Feng "
    "龙 Long 锦 Jin 春 Chun 秋 Qiu 延 Yan 建 Jian 学 Xue 古 Gu 教 Jiao 丰 Feng "
    "金 Jin 银 Yin 玉 Yu 白 Bai 青 Qing 紫 Zi 双 Shuang 万 Wan 天 Tian 江 Jiang "
    "海 Hai 湖 Hu 石 Shi 花 Hua 景 Jing 体 Ti 德 De 仁 Ren 义 Yi 和 He "
    "平 Ping 永 Yong 长 Chang 崇 Chong 兴 Xing 莲 Lian 柳 Liu 枫 Feng 鹤 He 墨 Mo "
    "砚 Yan "
)
_SECOND = (
    "华 hua 山 shan 溪 xi 林 lin 安 an 宁 ning 泽 ze 月 yue 桥 qiao 塘 tang "
    "渡 du 阁 ge 亭 ting 苑 yuan 泉 quan 岭 ling 波 bo 源 yuan 昌 chang 明 ming "
    "光 guang 秀 xiu 园 yuan 坊 fang 井 jing 门 men 台 tai 湾 wan 洲 zhou 港 gang "
    "星 xing 虹 hong 庆 qing 贤 xian 祥 xiang 雅 ya "
)
_SUFFIX: dict[int, tuple[Name, ...]] = {
    ARTERIAL: (("Road", "路"), ("Avenue", "大道"), ("Road", "路")),
    COLLECTOR: (("Road", "路"), ("Street", "街"), ("Road", "路")),
    LOCAL: (("Street", "街"), ("Lane", "巷"), ("Road", "路"), ("Lane", "弄")),
}
_RING: tuple[Name, ...] = (("East", "东"), ("North", "北"), ("West", "西"), ("South", "南"))
_ORDINAL: tuple[Name, ...] = (
    ("Second", "二"),
    ("Third", "三"),
    ("Fourth", "四"),
    ("Fifth", "五"),
    ("Sixth", "六"),
    ("Outer", "外"),
)


@dataclass(frozen=True, slots=True)
class Names:
    """What is called how.

    Parameters
    ----------
    city, river
        English and Chinese.
    streets
        Of each street.
    nodes
        Of each junction: its two first streets.
    district : (n_nodes,)
        Row of `DISTRICTS`.
    """

    city: Name
    river: Name
    streets: list[Name]
    nodes: list[Name]
    district: list[int]


def give_names(rng: np.random.Generator, plan: Plan, roads: Roads, *, seed: int) -> Names:
    """Return the names of a city."""
    streets = _streets(rng, plan, roads)
    at: list[dict[int, None]] = [{} for _ in range(roads.n_nodes)]
    for link in np.lexsort((np.arange(roads.n_links), roads.link_class)).tolist():
        for node in (roads.start[link], roads.end[link]):
            at[node][int(roads.street[roads.road[link]])] = None
    nodes = []
    for found in at:
        first = [streets[k] for k in list(found)[:2]]
        nodes.append((" / ".join(name for name, _ in first), "与".join(name for _, name in first) + "路口"))
    return Names(
        city=CITIES[(seed - 1) % len(CITIES)],
        river=RIVERS[int(rng.integers(len(RIVERS)))],
        streets=streets,
        nodes=nodes,
        district=[_district(plan, v) for v in roads.vertex.tolist()],
    )


def _district(plan: Plan, vertex: int) -> int:
    x, y = plan.mesh.x[vertex], plan.mesh.y[vertex]
    cx, cy, radius = plan.centres[0].tolist()
    if math.hypot(x - cx, y - cy) < 1.1 * radius:
        return 0
    return (1 if x > 0 else 2) if y > 0 else (4 if x > 0 else 3)


def _streets(rng: np.random.Generator, plan: Plan, roads: Roads) -> list[Name]:
    """Return a name for each street; ring roads and riverside roads are called after what they are."""
    stems = _stems(rng)
    names: dict[int, Name] = {}
    for street, line, kind in zip(roads.street.tolist(), roads.line.tolist(), roads.road_class.tolist(), strict=True):
        if street in names:
            continue
        if kind == MOTORWAY:
            ring, quarter = divmod(line - plan.ring_line, 4)
            names[street] = _ring_name(ring, _RING[quarter])
        elif line == plan.riverside[0]:
            names[street] = ("South Riverside Road", "江南滨江路")
        elif line == plan.riverside[1]:
            names[street] = ("North Riverside Road", "江北滨江路")
        else:
            count, k = divmod(len(names), len(stems))
            suffix = _SUFFIX[kind][int(rng.integers(len(_SUFFIX[kind])))]
            number = ("", "") if count == 0 else (f"No. {count + 1} ", f"{count + 1}号")
            names[street] = (f"{stems[k][0]} {number[0]}{suffix[0]}", f"{stems[k][1]}{number[1]}{suffix[1]}")
    return [names[k] for k in range(roads.n_streets)]


def _ring_name(ring: int, quarter: Name) -> Name:
    if ring == 0:
        return f"{quarter[0]} Ring Road", f"环城{quarter[1]}路"
    ordinal = _ORDINAL[min(ring, len(_ORDINAL)) - 1]
    return f"{quarter[0]} {ordinal[0]} Ring Road", f"{ordinal[1]}环{quarter[1]}路"


def _stems(rng: np.random.Generator) -> list[Name]:
    """Return two-character stems in seeded order, each reading different in English."""
    first, second = _FIRST.split(), _SECOND.split()
    pairs = [(a, b) for a in range(0, len(first), 2) for b in range(0, len(second), 2) if first[a] != second[b]]
    stems: dict[str, str] = {}
    for k in rng.permutation(len(pairs)).tolist():
        a, b = pairs[k]
        break_mark = "'" if second[b + 1][0] in "aeo" else ""
        stems.setdefault(first[a + 1] + break_mark + second[b + 1], first[a] + second[b])
    return list(stems.items())
