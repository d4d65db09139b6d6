"""The city in three dimensions as one page of HTML: to turn and zoom in a notebook or a browser, without a network.

The page holds all that it needs, VTK.js included (of the package trame-pyvista), and is forbidden to ask for more.
"""

import html
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensors import InputError
from twin.network import Network
from twin.scene import LEGEND, PALETTE, PAPER, scene

# The viewer names pictures of its own on another host: nothing is fetched.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; style-src 'unsafe-inline';"
    " img-src data: blob:; connect-src data: blob:; worker-src blob:; font-src data:"
)
_KEY = (
    "position:fixed;left:12px;bottom:12px;padding:6px 10px;font:13px/1.5 system-ui,sans-serif;color:#1C2226;"
    f"background:{PAPER}e6;border:1px solid #D3D9DC;border-radius:4px"
)
_SWATCH = "display:inline-block;width:22px;height:8px;margin-right:8px;background:"


@dataclass(frozen=True, slots=True)
class ScenePage:
    """A page that shows a scene; in a notebook it shows itself.

    Parameters
    ----------
    html
        The whole page.
    height
        Of its frame in a notebook, CSS pixels.
    """

    html: str = field(repr=False)
    height: int = 640

    def save(self, path: Path | str) -> Path:
        """Write the page to a file, and return its path."""
        path = Path(path)
        path.write_text(self.html, "utf-8")
        return path

    def _repr_html_(self) -> str:
        """Return a frame of its own, so that the page's script and the notebook's do not meet."""
        page = html.escape(self.html, quote=True)
        return (
            f'<iframe srcdoc="{page}" title="The city in three dimensions" style="width:100%;height:{self.height}px;'
            'border:0" sandbox="allow-scripts"></iframe>'
        )


def scene_page(network: Network, *, height: int = 640, **state: Any) -> ScenePage:
    """Return a page on which the city can be turned and zoomed.

    Parameters
    ----------
    network
        Roads, buildings and ground.
    height
        Of its frame in a notebook, CSS pixels.
    state
        What `twin.scene.scene` takes: ``speed_ratio``, ``source``, ``alerts``, ``outage``, ``at``.

    Raises
    ------
    InputError
        When trame-pyvista is not installed, or the state is not one of this network.
    """
    plotter = scene(network, off_screen=True, **state)
    try:
        exporter = getattr(plotter, "trame", None)
        if exporter is None:
            raise InputError("an interactive scene needs trame-pyvista: pip install 'citytwin[notebook]'")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scene.html"
            exporter.export_html(path)
            page = path.read_text("utf-8")
    finally:
        plotter.close()
    head, found, rest = page.partition("<head>")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}" />'
    page = f"{head}{found}{policy}{rest}"
    if state.get("speed_ratio") is None:
        return ScenePage(page, height)
    body, found, rest = page.rpartition("</body>")
    return ScenePage(f"{body}{_key()}{found}{rest}", height)


def _key() -> str:
    """Return what the colours mean: VTK.js draws no legend."""
    rows = (
        f'<div><span style="{_SWATCH}{c}"></span>{html.escape(t)}</div>' for t, c in zip(LEGEND, PALETTE, strict=True)
    )
    return f'<div style="{_KEY}"><b>speed / free-flow speed</b>{"".join(rows)}wide: measured, narrow: guessed</div>'
