"""stub until merged"""

from lightning_vq.data.schema import Schema
from lightning_vq.sources.feed import Feed, feed_of


def click_source(name: str, root: str | None) -> tuple[Feed, Schema]:
    from lightning_vq.sources.named import data_root

    if name == "ml-100k":
        return feed_of(data_root(root) / "ml-100k" / "interactions.csv.gz"), Schema(
            ["user", "item"], label="rating", label_above=3, group="user", timestamp="timestamp"
        )
    return feed_of(data_root(root) / "frappe-ctr-libfm" / "interactions.csv.gz"), Schema(
        [f"f{i}" for i in range(10)], split=None
    )
