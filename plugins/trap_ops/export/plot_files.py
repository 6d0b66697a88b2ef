"""Plots as files of their own: SVG, and PNG, which is the same drawing in pixels."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

from trap_ops.records.names import visible

_HERE = Path(__file__).parent
_VIEW_BOX = re.compile(r'viewBox="0 0 (\S+) (\S+)"')
# Room for the title.
_TITLE = 26.0
_LEFT = 58.0
# Colours of a file: the light ones of the page. Not as variables of CSS, which browsers alone know.
_COLOURS = {
    "raised": "#fff",
    "ink": "#1b1f24",
    "soft": "#5b6570",
    "line": "#dfe3e7",
    "blind": "#0b5cad",
    "forward": "#c2570c",
    "backward": "#8a4fae",
    "monitored": "#0f7b55",
    "new": "#c2570c",
    "variable": "#0b5cad",
    "source": "#8d97a1",
}
_FILE = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
    'height="{height}" font-family="{fonts}" font-size="11.5px">'
    "<title>{title}</title><style>{css}</style>"
    '<rect width="100%" height="100%" fill="#fff"/>'
    '<text x="{x}" y="18" font-size="14px" font-weight="600" fill="{ink}">{title}</text>'
    "{inner}</svg>\n"
)
# Pixels of a PNG for each unit of the drawing: 300 a inch if it is printed 20 cm wide.
_ZOOM = 3.0


def as_svg(plot: Markup, title: str) -> bytes:
    """Return a plot as an SVG file, with a title above it, in light colours."""
    return _file(plot, title, "system-ui, Helvetica, Arial, sans-serif")


def as_png(plot: Markup, title: str) -> bytes:
    """Return a plot as a PNG file: what :func:`as_svg` draws, 2340 pixels wide.

    Its letters are those of a font that comes with the pipeline, so that it looks the same
    everywhere; the computer's own fonts serve for signs that this font lacks.
    """
    import resvg_py  # noqa: PLC0415 - nothing else needs it

    made = _file(plot, title, "DejaVu Sans")
    fonts = [str(path) for path in sorted((_HERE / "fonts").glob("*.ttf"))]
    png: bytes = resvg_py.svg_to_bytes(
        svg_string=made.decode("utf-8"), zoom=_ZOOM, font_files=fonts
    )
    return png


def _file(plot: Markup, title: str, fonts: str) -> bytes:
    width, height = (float(side) for side in _VIEW_BOX.findall(plot)[0])
    inner = plot.replace("<svg ", Markup('<svg y="{}" height="{}" ').format(_TITLE, height), 1)
    css = (_HERE / "plots.css").read_text(encoding="utf-8")
    css = re.sub(r"var\(--(\w+)\)", lambda name: _COLOURS[name[1]], css)
    made = _FILE.format(
        width=f"{width:g}",
        height=f"{height + _TITLE:g}",
        fonts=fonts,
        css=Markup(css),  # noqa: S704 - ours
        title=visible(title),
        x=f"{_LEFT:g}",
        ink=_COLOURS["ink"],
        inner=inner,
    )
    return made.encode("utf-8", "backslashreplace")
