"""The page at ``/docs``: the OpenAPI document as plain HTML, without a script from anywhere else."""

import html
from collections.abc import Mapping
from typing import Any

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;color:#1c2226;background:#f7f8f9;
max-width:60rem;margin:2rem auto;padding:0 1rem}
code{font:13px ui-monospace,monospace}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #cbd2d6}
dt{margin-top:.8rem}dt b{display:inline-block;min-width:3.5rem;color:#0b4a8f}dd{margin:0 0 0 3.5rem;color:#4d5960}"""


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document.

    Examples
    --------
    >>> "GET" in docs_page({"info": {"title": "t", "version": "1"}, "paths": {"/a": {"get": {"description": "d"}}}})
    True
    """
    groups: dict[str, list[str]] = {}
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parameters = [
                f"<code>{html.escape(row['name'])}</code>{'' if row.get('required') else ' (optional)'}"
                for row in operation.get("parameters", ())
            ]
            text = html.escape(operation.get("description", ""))
            if parameters:
                text += " Parameters: " + ", ".join(parameters) + "."
            entry = f"<dt><b>{method.upper()}</b> <code>{html.escape(path)}</code></dt><dd>{text}</dd>"
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(entry)
    body = "".join(f"<h2>{html.escape(name)}</h2><dl>{''.join(rows)}</dl>" for name, rows in groups.items())
    title = html.escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f'<p>The whole document, for programs: <a href="openapi.json">openapi.json</a>. Live state: WebSocket '
        f"<code>/api/v1/live</code>.</p>{body}</html>"
    )
