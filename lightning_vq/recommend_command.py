"""`python -m lightning_vq recommend ARTIFACT --user ID`: recommendations from an artifact, without torch."""

from pathlib import Path

from lightning_vq.arguments import Parser
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
        "--positions", type=int, default=1, metavar="N", help="of a list: how many items are to come (1)"
    )
    parser.add_argument("-k", type=int, default=10, help="how many items (10)")
    parser.add_argument(
        "--with-seen", action="store_true", help="items that a user had in training, or that are in the list, too"
    )
    parser.add_argument("--exclude", nargs="+", default=[], metavar="ITEM", help="items to be left out for all")
    options = parser.parse_args(arguments)
    artifact = load(options.artifact)
    if options.items:
        best = artifact.complete(options.items, options.k, options.positions, not options.with_seen, options.exclude)
        print("place\titem\tscore")
        for place, (item, score) in enumerate(best, start=1):
            print(f"{place}\t{item}\t{score:.6g}")
        return
    found = artifact.recommend_many(options.user, options.k, not options.with_seen, options.exclude)
    print("user\tplace\titem\tscore")
    for user, best in zip(options.user, found):
        for place, (item, score) in enumerate(best, start=1):
            print(f"{user}\t{place}\t{item}\t{score:.6g}")
