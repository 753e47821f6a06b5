"""`python -m lightning_vq recommend ARTIFACT --user ID`: recommendations from an artifact, without torch."""

import sys
from pathlib import Path
from typing import Literal

from lightning_vq.errors import UserError
from lightning_vq.parser import Parser
from lightning_vq.serving import load


def main(arguments: list[str]) -> None:
    """Run the verb.

    Raises:
        UserError: a wrong argument, no whole artifact, an unknown user.
    """
    about = "Print the best items of users, or the next ones of a list, from an artifact, best first."
    parser = Parser(prog="python -m lightning_vq recommend", description=about, allow_abbrev=False)
    parser.add_argument("artifact", type=Path, help="folder that export has written")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--user", nargs="+", metavar="ID", help="original ids")
    asked.add_argument("--items", nargs="+", metavar="ID", help="original ids of a list, in its order")
    parser.add_argument(
        "--positions", type=int, metavar="N", help="of a list: how many items are to come (1); told in turn"
    )
    parser.add_argument("-k", type=int, help="how many items (10; of several positions one for each)")
    parser.add_argument(
        "--with-seen", action="store_true", help="items that a user had in training, or that are in the list, too"
    )
    parser.add_argument("--exclude", nargs="+", default=[], metavar="ITEM", help="items to be left out for all")
    parser.add_argument(
        "--skip-unknown", action="store_true", help="pass over users and items that the model does not know"
    )
    options = parser.parse_args(arguments)
    if options.user and options.positions is not None:
        raise UserError("--positions is of lists (--items), not of users")
    artifact, exclude_seen = load(options.artifact), not options.with_seen
    unknown: Literal["error", "skip"] = "skip" if options.skip_unknown else "error"
    if options.items:
        positions = 1 if options.positions is None else options.positions
        best = artifact.complete(options.items, options.k, positions, exclude_seen, options.exclude, unknown)
        print("place\titem\tscore")
        for place, (item, score) in enumerate(best, start=1):
            print(f"{place}\t{item}\t{score:.6g}")
        return
    k = 10 if options.k is None else options.k
    found = artifact.recommend_many(options.user, k, exclude_seen, options.exclude, unknown)
    print("user\tplace\titem\tscore")
    if options.skip_unknown and (strange := int((artifact.rows("user", options.user, "fallback") < 0).sum())):
        print(f"{strange} of {len(options.user)} users are unknown and were passed over", file=sys.stderr)
    for user, best in zip(options.user, found):
        for place, (item, score) in enumerate(best, start=1):
            print(f"{user}\t{place}\t{item}\t{score:.6g}")
