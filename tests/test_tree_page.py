"""The page of a tree, read back as a browser's parser reads it."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_vq.tree_page import ROOT, TILES, tree_nodes, write_page


class Page(HTMLParser):
    """Tags, attributes and the text of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.data: dict[str, Any] = {}
        self.shown = ""
        self._in, self._is_data = "", False
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        (drawing,) = [text for text in self.scripts if text.count("Plotly.newPlot") and "plotly.js v" not in text]
        start = drawing.index("[", drawing.index('"tree",'))
        (self.treemap,), _ = json.JSONDecoder().raw_decode(drawing, start)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._in, self._is_data = tag, ("id", "data") in attrs
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
            if self._is_data:
                self.data = json.loads(self.scripts[-1])
        else:
            self.shown += data


def world(levels: int, entities: int = 3000, size: int = 64) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return ids, codes (N, levels) of which each has one parent, and counts."""
    rng = np.random.default_rng(levels)
    fine = rng.integers(0, size, entities)
    codes = np.stack([fine // 4**level for level in range(levels)], axis=1)
    return list(range(1000, 1000 + entities)), codes, rng.integers(0, 500, entities)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_sizes_add_up_and_the_search_knows_everyone(levels: int, tmp_path: Path) -> None:
    ids, codes, counts = world(levels)
    write_page(tmp_path / "user.html", "users", ids, codes, counts, None, None, "users")
    page = Page(tmp_path / "user.html")
    tree = page.treemap
    assert tree["branchvalues"] == "total"
    sizes = dict(zip(tree["ids"], tree["values"]))
    assert len(sizes) == len(tree["ids"]) == 1 + sum(len(np.unique(codes[:, level])) for level in range(levels))
    assert sizes[ROOT] == 3000
    below: Counter[str] = Counter()
    for node, parent in zip(tree["ids"], tree["parents"]):
        below[parent] += sizes[node]
    assert all(below[node] == sizes[node] for node in below if node)
    leaves = set(tree["ids"]) - set(tree["parents"])
    assert sum(sizes[leaf] for leaf in leaves) == 3000

    assert [node[0] for node in page.data["nodes"]] == tree["ids"]
    found = {entity: page.data["nodes"][leaf][0] for entity, _, leaf, _ in page.data["entities"]}
    paths = {str(i): "/".join([ROOT, *map(str, row[::-1])]) for i, row in zip(ids, codes.tolist())}
    assert found == paths
    told = [count for *_, count in page.data["entities"]]
    assert told == sorted(counts.tolist(), reverse=True)


def test_a_code_under_two_parents_is_two_nodes() -> None:
    codes = np.array([[5, 0], [5, 1], [5, 1]])
    nodes, leaf = tree_nodes(["a", "b", "c"], codes, np.array([1, 2, 3]), None, "items")
    assert {(node.id, node.parent, node.size) for node in nodes} == {
        ("all", "", 3), ("all/0", "all", 1), ("all/1", "all", 2), ("all/0/5", "all/0", 1), ("all/1/5", "all/1", 2),
    }  # fmt: skip
    assert [nodes[i].id for i in leaf] == ["all/0/5", "all/1/5", "all/1/5"]


def test_labels_by_hand() -> None:
    # Drama is everywhere (6 of 8 known); node 0 holds all Horror, node 1 no more than its Drama.
    categories = [["Drama", "Horror"], ["Drama"], ["Horror"], ["Drama"], ["Drama"], ["Drama"], ["Drama"], ["War"], []]
    codes = np.array([[0], [0], [0], [1], [1], [1], [1], [1], [1]])
    names = [f"film {i}" for i in range(9)]
    nodes, _ = tree_nodes(names, codes, np.array([1, 9, 5, 0, 0, 0, 0, 0, 8]), categories, "items")
    root, first, second = nodes
    assert root.label == "All items"
    assert root.mix[:2] == ["Drama 75% (75%)", "Horror 25% (25%)"]
    assert first.label == "Horror 67%"
    assert first.mix == ["Drama 67% (75%)", "Horror 67% (25%)"]
    assert first.popular == ["film 1 (9)", "film 2 (5)", "film 0 (1)"]
    assert first.place == "level 1, code 0: 3 items, 33.3% of all"
    assert second.label == "War 20%, Drama 80%"  # +7.5 points above its share of all, Drama +5
    assert second.popular[0] == "film 8 (8)"


def test_without_categories_the_most_popular_give_the_label() -> None:
    nodes, _ = tree_nodes(["a", "b", "c"], np.array([[0], [0], [0]]), np.array([1, 7, 3]), [[], [], []], "items")
    assert nodes[1].label == "b, c"
    assert nodes[1].mix == []


HOSTILE = [
    "</script><b>bold</b>",
    "</script <b",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "$title ${data}",
    "a & b \" ' \u2028",
]


def test_hostile_titles_and_categories_are_only_text(tmp_path: Path) -> None:
    codes, counts = np.zeros((6, 1), dtype=int), np.arange(6)
    pages = []
    for name, texts in (("tame", list("abcdef")), ("hostile", HOSTILE)):
        write_page(tmp_path / f"{name}.html", texts[0], texts, codes, counts, texts, [[text] for text in texts])
        pages.append(Page(tmp_path / f"{name}.html"))
    tame, hostile = pages
    assert hostile.tags == tame.tags
    assert hostile.tags["script"] == 5
    assert hostile.tags["b"] == hostile.tags["img"] == 0
    assert [name for _, name, *_ in hostile.data["entities"]] == HOSTILE[::-1]
    # A browser ends a script also at "</script ", and enters another state at "<!--"; this parser does not.
    (raw,) = [script for script in hostile.scripts if script.startswith('{"nodes"')]
    assert not set("<>&") & set(raw)
    assert hostile.shown.count(HOSTILE[0]) == 2  # title and heading, as text
    # Plotly reads tags in its own texts: none but its line breaks may be left.
    for key in ("labels", "text", "hovertext"):
        for text in hostile.treemap[key]:
            assert "<" not in text.replace("<br>", "")


def test_no_network_is_asked_for(tmp_path: Path) -> None:
    ids, codes, counts = world(2)
    write_page(tmp_path / "item.html", "items", ids, codes, counts, None, None)
    page = Page(tmp_path / "item.html")
    assert page.addresses == []
    assert any("plotly.js v" in script for script in page.scripts)


def test_a_large_tree_is_drawn_in_parts(tmp_path: Path) -> None:
    for size, depth in ((64, 3), (4 * TILES, 2)):
        ids, codes, counts = world(2, entities=20 * TILES, size=size)
        write_page(tmp_path / "item.html", "items", ids, codes, counts, None, None)
        assert Page(tmp_path / "item.html").treemap["maxdepth"] == depth


def test_titles_are_shown_and_missing_ones_give_way_to_ids(tmp_path: Path) -> None:
    write_page(tmp_path / "i.html", "t", [7, 8], np.array([[0], [0]]), np.array([1, 2]), ["Fargo", None], [["x"], []])
    page = Page(tmp_path / "i.html")
    assert page.data["entities"] == [["8", "8", 1, 2], ["7", "Fargo", 1, 1]]
    assert "Fargo (1)" in page.treemap["hovertext"][1]
