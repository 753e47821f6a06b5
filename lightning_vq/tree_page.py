"""The learned tree as one HTML file to explore: a zoomable treemap, and a search that leads to an entity's node.

The file needs no network: Plotly's script is inside. Entities are not nodes, the finest codes are the leaves.
Shapes: N entities, L levels (fine to coarse), M nodes of one level, G categories.
"""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np

from lightning_vq.agreement import Members, members
from lightning_vq.runs import replacing
from lightning_vq.sources.interactions import Array

ROOT = "all"
TILES = 1500  # that a browser redraws without a pause; of a larger tree fewer levels are drawn at a time
NAMED = 5  # entities and categories that a hover names
LONGEST = 60  # characters of a name in a hover
TILE = 24  # characters of a name on a tile
LEGEND = (
    "A box is a code, those inside it the finer codes below; its area is how many {noun} have it. {by}Click to go in."
)
WITH = "Its heading names categories that stand out in it, with their share; below, the most popular in training. "
WITHOUT = "Its heading names the most popular of them in training. "


class Node(NamedTuple):
    """A code within the codes above it, or the root. All text is plain, not yet HTML."""

    id: str  # path of codes, coarse first: "all/3/17"
    parent: str  # id; "" of the root
    size: int  # entities
    label: str  # categories that tell it from others, else its most popular entities
    place: str  # its level and code, and how much of the tree it holds
    tile: list[str]  # lines below the label
    popular: list[str]  # its most popular entities
    mix: list[str]  # its most frequent categories


def tree_nodes(
    names: Sequence[str], codes: Array, counts: Array, categories: Sequence[Sequence[str]] | None, noun: str
) -> tuple[list[Node], Array]:
    """Return the nodes of a tree, parents first, and for each entity (N,) the index of its leaf among them.

    Args:
        names: (N) what people call the entities.
        codes: (N, L), fine to coarse.
        counts: (N,) interactions in training.
        categories: (N) real categories of each entity, or None where none are known.
        noun: what the entities are, in plural.
    """
    of = members(categories or [])
    usual = _shares(np.zeros(len(codes), dtype=np.int64), 1, of)[0]
    node, ids, parents = np.zeros(len(codes), dtype=np.int64), [ROOT], [""]
    made: list[Node] = []
    for depth in range(codes.shape[1] + 1):
        level = codes.shape[1] - depth
        if depth:
            above = node
            _, first, node = np.unique(
                above * (int(codes.max()) + 1) + codes[:, level], return_index=True, return_inverse=True
            )
            parents = [ids[i] for i in above[first]]
            ids = [f"{parent}/{code}" for parent, code in zip(parents, codes[first, level])]
        sizes = np.bincount(node)
        popular = _popular(counts, node, sizes)
        mixes = _mixes(_shares(node, len(ids), of), usual, of.names)
        for i, (name, (label, mix)) in enumerate(zip(ids, mixes)):
            short = [_short(names[row], TILE) for row in popular[i]]
            many = _counted(int(sizes[i]), noun)
            place = f"{many}, {sizes[i] / len(codes):.1%} of all"
            if depth:
                place = f"level {level + 1}, code {name.rsplit('/', 1)[1]}: {place}"
            made.append(
                Node(
                    id=name,
                    parent=parents[i],
                    size=int(sizes[i]),
                    label=(label or ", ".join(short[:2])) if depth else f"All {noun}",
                    place=place,
                    tile=short[:3] if label else [many],
                    popular=[f"{_short(names[row])} ({counts[row]:,})" for row in popular[i]],
                    mix=mix,
                )
            )
    return made, node + len(made) - len(ids)


def _counted(size: int, noun: str) -> str:
    return f"{size:,} {noun.removesuffix('s') if size == 1 else noun}"


def _short(name: str, longest: int = LONGEST) -> str:
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _popular(counts: Array, node: Array, sizes: Array) -> list[list[int]]:
    """Return the rows of the most popular entities of each of M nodes, given the node (N,) of each entity."""
    order = np.lexsort((-counts, node))
    starts = sizes.cumsum() - sizes
    return [order[start : start + min(NAMED, size)].tolist() for start, size in zip(starts, sizes)]


def _shares(node: Array, nodes: int, of: Members) -> Array:
    """Return the share (M, G) of each category among those entities of each node whose categories are known."""
    groups = len(of.names)
    held = np.bincount(node[of.items] * groups + of.categories, minlength=nodes * groups).reshape(nodes, groups)
    known = np.bincount(node[np.unique(of.items)], minlength=nodes)
    return held / np.maximum(known, 1)[:, None]


def _mixes(shares: Array, usual: Array, names: list[str]) -> list[tuple[str, list[str]]]:
    """Return a label and the lines of the most frequent categories for each of M nodes.

    The label is the category whose share is furthest above its share of all, then the most frequent one if that is
    more frequent: alone it would call nearly every node Drama where Drama is frequent everywhere.
    """
    told, above = [], np.where(shares > 0, shares - usual, -np.inf)
    for i in range(len(shares)):
        frequent = [g for g in np.argsort(-shares[i], kind="stable")[:NAMED] if shares[i, g] > 0]
        lines = [f"{_short(names[g])} {shares[i, g]:.0%} ({usual[g]:.0%})" for g in frequent]
        chosen = [int(above[i].argmax())] if frequent else []
        chosen += [g for g in frequent[:1] if shares[i, g] > shares[i, chosen[0]]]
        told.append((", ".join(f"{_short(names[g], TILE)} {shares[i, g]:.0%}" for g in chosen), lines))
    return told


def write_page(
    path: Path,
    title: str,
    ids: Sequence[object],
    codes: Array,
    counts: Array,
    titles: Sequence[str | None] | None,
    categories: Sequence[Sequence[str]] | None,
    noun: str = "items",
) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        title: of the page.
        ids: (N) original ids.
        codes: (N, L) code per level, fine to coarse.
        counts: (N,) interactions in training.
        titles: (N), None for an entity without; None where no entity has one.
        categories: (N) real categories of each entity, or None where none are known.
        noun: what the entities are, in plural.
    """
    import plotly.graph_objects as go  # slow to import, needed once a run

    names = [one or str(i) for one, i in zip(titles or [None] * len(ids), ids)]
    nodes, leaf = tree_nodes(names, codes, counts, categories, noun)
    near = sum(node.id.count("/") in (1, 2) for node in nodes)
    figure = go.Figure(
        go.Treemap(
            ids=[node.id for node in nodes],
            parents=[node.parent for node in nodes],
            values=[node.size for node in nodes],
            labels=[_plotly(node.label) for node in nodes],
            text=["<br>".join(map(_plotly, node.tile)) for node in nodes],
            hovertext=["<br>".join(map(_plotly, _hover(node))) for node in nodes],
            branchvalues="total",
            hoverinfo="text",
            textinfo="label+text",
            maxdepth=3 if near <= TILES else 2,
        ),
        {"template": "none", "margin": {"t": 30, "l": 5, "r": 5, "b": 5}},
    )
    treemap = figure.to_html(
        full_html=False, include_plotlyjs=True, div_id="tree", config={"displayModeBar": False, "responsive": True}
    )
    order = np.argsort(-counts, kind="stable")
    data = {
        "nodes": [[node.id, node.label, node.place, node.mix] for node in nodes],
        "entities": [[str(ids[i]), names[i], int(leaf[i]), int(counts[i])] for i in order],
    }
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    by = "id" if titles is None or not any(titles) else "id or title"
    page = template.substitute(
        title=html.escape(title),
        search=html.escape(f"Search {noun} by {by}"),
        legend=html.escape(LEGEND.format(noun=noun, by=WITH if categories else WITHOUT)),
        treemap=treemap,
        data=_json(data),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _hover(node: Node) -> list[str]:
    lines = [node.label, node.place, "Most popular (interactions in training):", *node.popular]
    return [*lines, "Categories (share of all):", *node.mix] if node.mix else lines


def _plotly(text: str) -> str:
    """Escape text for Plotly, which reads tags and a few entities; &quot; is not among them."""
    return html.escape(text, quote=False)


def _json(data: object) -> str:
    """Return JSON that no HTML parser takes for a tag: a title may hold </script>."""
    return (
        json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
