"""Notebooks are kept without what an execution leaves in them; `notebooks/execute.py` executes them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text())
    return notebook


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_there_are_six() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_", "05_", "06_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_keeps_nothing_of_an_execution(self, path: Path) -> None:
        for cell in read(path)["cells"]:
            assert cell["metadata"] == {}
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                assert cell["execution_count"] is None

    def test_runs_in_any_python(self, path: Path) -> None:
        notebook = read(path)
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
        assert notebook["metadata"]["language_info"] == {"name": "python"}  # no version of somebody's own

    def test_cells_have_ids(self, path: Path) -> None:
        notebook = read(path)
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids)

    def test_begins_with_what_it_is_for(self, path: Path) -> None:
        first = read(path)["cells"][0]
        assert first["cell_type"] == "markdown"
        assert re.match(r"# .+\n\nAfter this notebook you can ", text(first))

    def test_its_code_is_python(self, path: Path) -> None:
        for cell in read(path)["cells"]:
            if cell["cell_type"] == "code":
                compile(text(cell), f"{path}, {cell['id']}", "exec")

    def test_what_it_names_is_there(self, path: Path) -> None:
        whole = "\n".join(text(cell) for cell in read(path)["cells"])
        for target in re.findall(r"\]\(([^)#]+)\)", whole):
            assert target.startswith("http") or (path.parent / target).exists(), target
        for config in re.findall(r"\b(?:conf|sweeps)/[\w/-]+\.yaml", whole):
            if not config.startswith("sweeps/codebooks/"):  # 03 writes that one
                assert Path(config).is_file(), config
