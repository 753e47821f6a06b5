"""Which columns of a table of users or items are taken as features."""

from pathlib import Path

import pyarrow as pa
import pytest

from lightning_vq.errors import UserError
from lightning_vq.sources.features import read_features

IDS = pa.array([f"u{i}" for i in range(40)])


def written(path: Path, **columns: list[str]) -> Path:
    names = ["user", *columns]
    rows = zip(*([f"u{i}" for i in range(40)], *columns.values()))
    path.write_text(",".join(names) + "\n" + "\n".join(map(",".join, rows)) + "\n")
    return path


def test_columns_next_to_an_id_are_left_out(tmp_path: Path) -> None:
    zips = [f"{9000 + i * 2 // 3}" for i in range(40)]  # 27 of them: met 1.5 times in the mean
    ages = [str(i % 6) for i in range(40)]
    halves = [f"{i // 2}" for i in range(40)]  # met twice
    path = written(tmp_path / "users.csv", zip=zips, age=ages, pair=halves)
    assert list(read_features(path, "user", IDS, None)) == ["age", "pair"]
    assert list(read_features(path, "user", IDS, ["zip"])) == ["zip"]  # what is asked for is taken
    alone = written(tmp_path / "alone.csv", zip=zips)
    with pytest.raises(UserError, match="no column of features beside 'user', but titles and the like"):
        read_features(alone, "user", IDS, None)
