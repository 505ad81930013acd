"""A page in HTML with all its pictures in it: it needs no server, loads nothing and runs nothing.

All text is escaped, and a policy in the page forbids scripts, so names of classes and images are only ever names.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from blobdir.drawing.text import code_of
from blobdir.wording import counted, named_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from PIL import Image

    from blobdir.drawing.palette import Looks
    from blobdir.drawing.tiles import Tile
    from blobdir.packing import Problem

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ margin: 1.2rem; background: #1e1e22; color: #e6e6e6; font: 15px/1.45 system-ui, "Noto Sans", sans-serif; }}
h1 {{ font-size: 1.25rem; overflow-wrap: anywhere; }}
ul.classes {{ list-style: none; margin: 0 0 1.2rem; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }}
.classes i {{ display: inline-block; width: .9em; height: .9em; margin-right: .4em; border: 1px solid #999; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min({tile}px, 100%), 1fr)); gap: 1rem; }}
figure {{ margin: 0; }}
img {{ display: block; max-width: 100%; height: auto; margin: auto; }}
figcaption {{ overflow-wrap: anywhere; font-size: .85rem; padding-top: .3rem; }}
figcaption small {{ color: #a0a0a8; }}
.missing {{ border: 1px solid #963c3c; padding: 3rem 1rem; text-align: center; color: #d08080; }}
section {{ margin-top: 2rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
"""


def shown(text: str) -> str:
    """Text for a page; what can't be seen, or isn't UTF-8, by its number."""
    return escape("".join(c if c.isprintable() or c in "\u200d\u200c" else f"‹{code_of(c)}›" for c in text))


def html_page(
    title: str,
    tiles: Iterable[Tile],
    tile: int,
    looks: Looks,
    problems: Sequence[Problem],
) -> Iterator[bytes]:
    """The page, in pieces.

    Parameters
    ----------
    title : str
        Of the project.
    tiles : iterable of Tile
    tile : int
        Pixels that are kept free for the width of one.
    looks : Looks
        Colours of classes.
    problems : sequence of Problem
        Filled while tiles are drawn, so they stand below.
    """
    yield _HEAD.format(title=shown(title), tile=tile).encode()
    yield f"<h1><bdi>{shown(title)}</bdi></h1>\n<main>\n".encode()
    counts: Counter[str] = Counter()
    for one in tiles:
        counts += one.classes
        yield _figure(one).encode()
    yield b"</main>\n"
    yield _classes(looks, counts).encode()
    yield _problems(problems).encode()
    yield b"</body>\n</html>\n"


def _figure(one: Tile) -> str:
    objects = counted(one.classes.total(), "object")
    caption = f'<figcaption><bdi dir="ltr">{shown(one.title)}</bdi> <small>{objects}</small></figcaption>'
    if one.picture is None:
        return f'<figure><div class="missing">can’t be drawn</div>{caption}</figure>\n'
    width, height = one.picture.size
    return (
        f'<figure><img loading="lazy" width="{width}" height="{height}" alt="{shown(one.title)}" '
        f'src="{_data_uri(one.picture)}">{caption}</figure>\n'
    )


def _data_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _classes(looks: Looks, counts: Counter[str]) -> str:
    if not counts:
        return ""
    items = [
        f'<li><i style="background: rgb{looks[title].color}"></i><bdi>{shown(title)}</bdi> {count:,}</li>'
        for title, count in counts.most_common()
    ]
    return '<section><h2>Objects by class</h2>\n<ul class="classes">\n' + "\n".join(items) + "\n</ul></section>\n"


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    items = "\n".join(f"<li>{shown(f'{it.path}: {named_once(it.path, it.message)}')}</li>" for it in problems)
    return f"<section><h2>What couldn’t be used</h2>\n<ul>\n{items}\n</ul></section>\n"
