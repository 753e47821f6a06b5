"""`reproduce --smoke`: a table without its data still shows whether it runs."""

import csv
from pathlib import Path

from small_table import TABLE, reproduce

from lightning_vq.reproduce.files import every_name
from lightning_vq.reproduce.paper import read_paper
from lightning_vq.reproduce.smoke import own_data, smoke_test
from lightning_vq.reproduce.steps import read_steps


def test_a_row_without_its_data_runs_on_planted_data(tmp_path: Path) -> None:
    said = reproduce(tmp_path, "--smoke", "--rows", "absent")
    assert said.startswith("Smoke test on planted data")
    with (tmp_path / "out/small/smoke/table.csv").open() as file:
        rows = {row["row"]: row for row in csv.DictReader(file) if row["column"] == "N@10"}
    assert set(rows) == {row["name"] for row in TABLE["rows"]} - {"Elsewhere"}  # no config tells how it would run
    assert rows["Absent"]["mean"]
    assert rows["Base"]["verdict"] == "not run"
    assert not rows["Base"]["paper"]
    assert not (tmp_path / "out/small/small").exists()  # results of the table itself
    left = "Left out, since no config says how they would run: Elsewhere."
    markdown = (tmp_path / "out/small/smoke/table.md").read_text()
    for text in (said, markdown):
        assert left in text
    assert f"reproduce {tmp_path}/small.yaml --smoke" in markdown
    assert "no figure of it means anything" in markdown


def test_every_shipped_table_can_be_smoke_tested() -> None:
    for name in every_name():
        if read_steps(name) is None:
            paper = smoke_test(read_paper(name)[1])
            paper.check()
            assert [row.name for row in paper.rows if row.source != "planted"] == [
                row.name for row in paper.rows if name in ("cage/table1", "bars/frappe") and own_data(row)
            ]
