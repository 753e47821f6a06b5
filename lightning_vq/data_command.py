"""`python -m lightning_vq data list|info|download|verify`: what a source is and where it lies."""

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import yaml

from lightning_vq.arguments import Parser
from lightning_vq.errors import UserError
from lightning_vq.figures import draw_frequencies
from lightning_vq.sources.clicks import CLICKS, click_source, tally
from lightning_vq.sources.files import SUFFIXES, read_interactions
from lightning_vq.sources.folders import format_of, is_folder, read_folder
from lightning_vq.sources.interactions import Interactions, core
from lightning_vq.sources.list_sources import LISTS, ListSource, list_source
from lightning_vq.sources.lists import Range, filtered, qualifying
from lightning_vq.sources.named import SOURCES, Source, data_root, from_local_files, located, named_source
from lightning_vq.sources.planted import PlantedOptions, planted_interactions
from lightning_vq.sources.readers import lists_only, no_interactions


def main(arguments: list[str]) -> None:
    """Run a data verb."""
    about = "What a source is and where it lies."
    parser = Parser(prog="python -m lightning_vq data", description=about, allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    helps = {
        "list": "every named source, and whether it is on disk",
        "info": "its licence, and its counts before and after filtering",
        "download": "fetch a source from its official address",
        "verify": "read a source and compare its counts with the published or expected ones",
    }
    for verb, text in helps.items():
        one = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        one.add_argument("--root", help="folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq")
        if verb != "list":
            one.add_argument(
                "name", help="a named source" + (", planted, a file, or a folder" if verb == "info" else "")
            )
        if verb == "info":
            one.add_argument(
                "--columns", type=_columns, metavar="MAP", help='of a file or folder: "{user: listener, item: track}"'
            )
            one.add_argument(
                "--duplicates", choices=("refuse", "first", "last"), default="refuse", help="of a file or folder"
            )
            one.add_argument("--min-user", type=int, default=1, metavar="K", help="drop users with fewer interactions")
            one.add_argument("--min-item", type=int, default=1, metavar="K", help="drop items with fewer interactions")
            one.add_argument("--figure", type=Path, metavar="PNG", help="draw how often users and items occur")
        if verb == "download":
            one.add_argument("--files", type=Path, metavar="DIR", help="folder of the official files, fetched by you")
    options = parser.parse_args(arguments)
    if options.verb == "list":
        _list(options.root)
    elif options.verb == "info":
        try:
            _info(options)
        except UserError as error:  # readers tell the options of `fit`
            told = re.sub(r"--data\.init_args\.columns\.(\w+)=NAME", r"--columns '{\1: NAME}'", str(error))
            raise UserError(told.replace("--data.init_args.duplicates=", "--duplicates=")) from None
    elif options.name == "planted":
        print("planted is embedded: nothing to download, nothing to verify")
    elif options.verb == "download":
        source, root = named_source(options.name), options.root
        folder = from_local_files(source, options.files, root) if options.files else located(source, root)
        print(f"{source.name} lies in {folder}; to check it: python -m lightning_vq data verify {source.name}")
    else:
        _verify(named_source(options.name), options.root)


def _counted(name: str, root: str | None) -> list[str]:
    """Return what there is to tell of a source's samples for click-through rate."""
    feed, schema = click_source(name, root)
    found, split = tally(feed, schema)
    share = f"{found.clicks / found.samples:.2%}"
    lines = [f"samples   {found.samples:,}, {found.clicks:,} of them clicked ({share})", f"fields    {found.fields}"]
    if schema.numeric:
        lines.append(f"numbers   {', '.join(schema.numeric)}")
    if schema.sequence:
        lines.append("sequences " + ", ".join(f"{name} (of {vocab})" for name, vocab in schema.sequence.items()))
    if split:
        lines.append("split     " + ", ".join(f"{part} {split.get(part, 0):,}" for part in ("train", "dev", "test")))
    return lines


def _listed(name: str, root: str | None) -> list[str]:
    """Return what there is to tell of a source's lists, in the range that papers keep."""
    source, raw = LISTS[name], list_source(name, root)
    kept = filtered(raw, source.kept)
    lengths = kept.lengths
    shares = ", ".join(f"{qualifying(lengths, k):,} have {k} or more" for k in (5, 10))
    lines = [
        f"before    {raw.counts.told}",
        f"after     {kept.counts.told} ({source.kept.told})",
        _expected(source),
        f"a list    {lengths.min()} to {lengths.max()} items, median {int(np.median(lengths))}",
        f"halves    of {len(lengths):,} targets {shares}: metrics @k are of these lists alone",
    ]
    if kept.creators is not None:
        known = kept.creators.drop_null()
        lines.append(f"creators  {len(known.unique()):,} of {len(known):,} lists")
    return lines


def _expected(source: ListSource) -> str:
    """Return what is left of a source's lists in that range, as far as it is known."""
    if source.reached:
        return f"expected  {source.expected.told}"
    return f"published {source.expected.told} (CAGE, table 5; not compared with these files so far)"


def _counts(raw: Interactions) -> tuple[int, int, int]:
    return len(raw.users), len(np.unique(raw.users)), len(np.unique(raw.items))


def _told(counts: tuple[int, int, int]) -> str:
    interactions, users, items = counts
    return f"{interactions:,} interactions, {users:,} users, {items:,} items"


def _columns(text: str) -> dict[str, str]:
    """Return which column has which role."""
    try:
        columns = yaml.safe_load(text)
    except yaml.YAMLError:
        columns = None
    if not isinstance(columns, dict) or not all(isinstance(one, str) for pair in columns.items() for one in pair):
        raise argparse.ArgumentTypeError(
            f"must map roles to columns, as '{{user: listener, item: track}}', not {text!r}"
        )
    return columns


def _list(root: str | None) -> None:
    print(f"{'planted':17} {'embedded':17} interactions, clicks, lists and relevance scores from a known category tree")
    for source in SOURCES:
        missing = "to be downloaded" if source.remotes else "to be put there"
        there = "on disk" if source.folder(root).is_dir() else missing
        print(f"{source.name:17} {there:17} {source.about}")
    print(
        f"Root: {data_root(root)}. A file of your own (.csv, .tsv, .parquet) is a source too, and so is a folder of "
        "ReChorus, RecBole or LightGCN."
    )


def _info(options: argparse.Namespace) -> None:
    name, root, least_user, least_item = options.name, options.root, options.min_user, options.min_item
    if name == "planted":
        about = "about     interactions, clicks, lists and relevance scores from a known tree"
        raw, lines = planted_interactions(PlantedOptions()), [about]
    elif name.endswith(SUFFIXES):
        raw = read_interactions(Path(name), options.columns, duplicates=options.duplicates)
        lines = [f"file      {name}"]
    elif is_folder(name):
        raw = read_folder(Path(name), options.columns, duplicates=options.duplicates)
        lines = [f"folder    {name} ({format_of(Path(name)).name})"]
    else:
        source = named_source(name)
        if options.columns or options.duplicates != "refuse":
            raise UserError(f"--columns and --duplicates are of a file or folder of your own; {name} is a named source")
        folder = source.folder(root)
        lines = [f"about     {source.about}", f"licence   {source.licence}"]
        lines += [f"from      {remote.url}" for remote in source.remotes]
        if not folder.is_dir():
            lines.append(f"lies in   nowhere yet: {source.how}")
            lines += [f"published {_told(source.counts)}"] if source.counts else []
            lines += [f"expected  {CLICKS[name].expected.told}"] if name in CLICKS else []
            lines += [_expected(LISTS[name])] if name in LISTS else []
            print("\n".join(lines))
            return
        lines.append(f"lies in   {folder}")
        if source.read in (no_interactions, lists_only):
            if options.figure:
                raise UserError(f"--figure is of interactions; {name} has none")
            if (least_user, least_item) != (1, 1):
                what = "lists" if name in LISTS else "samples"
                raise UserError(f"--min-user and --min-item are of interactions; {name} has {what} only")
            print("\n".join(lines + (_listed if name in LISTS else _counted)(name, root)))
            return
        raw = source.read(folder)
    print("\n".join(lines))
    kept = _info_of(raw, least_user, least_item)
    if options.figure:
        counts = {"user": np.bincount(kept.users), "item": np.bincount(kept.items)}
        there = {vocab: of[of > 0] for vocab, of in counts.items()}
        draw_frequencies(options.figure, f"{name}: how often users and items occur", there)
        print(f"figure    {options.figure}")
    if name == "planted" or name in CLICKS:
        print("\n".join(_counted(name, root)))
    if name == "planted":
        print(f"lists     {filtered(list_source(name, root), Range(1, 1, None)).counts.told}")


def _info_of(raw: Interactions, least_user: int, least_item: int) -> Interactions:
    """Print the counts before and after filtering, and return what is kept."""
    before = _counts(raw)
    kept = core(raw, least_user, least_item)
    after = _counts(kept)
    lengths = np.bincount(kept.users)
    print(f"before    {_told(before)}; {100 * before[0] / (before[1] * before[2]):.3f} % dense")
    print(f"after     {_told(after)} (min_user={least_user}, min_item={least_item})")
    print(f"a user    {lengths.min()} to {lengths.max():,} interactions, median {int(np.median(lengths))}")
    print(f"times     {_period(kept)}")
    if kept.split is not None:
        print("split     " + ", ".join(f"{part} {(kept.split == part).sum():,}" for part in ("train", "dev", "test")))
    for part, (users, negatives) in kept.negatives.items():
        print(f"stored    {negatives.shape[1]} negatives for each of {len(users):,} {part} users")
    if raw.negatives and not kept.negatives:
        print("stored    negatives name dropped items or users: evaluation draws its own")
    unseen = len(kept.item_ids) - after[2]
    if unseen:
        why = "that only stored negatives name" if kept.negatives else "without an interaction"
        print(f"unseen    {unseen:,} items {why}; a fit ranks them like any other: {len(kept.item_ids):,} in all")
    if kept.relations:
        print("relations " + ", ".join(f"{name} {len(heads):,}" for name, (heads, _) in kept.relations.items()))
    return kept


def _period(of: Interactions) -> str:
    """Return from when to when interactions are, as dates where the numbers are seconds or parts of them since 1970."""
    if of.order is None:
        return "none: the order of the rows"
    first, last = of.order.min(), of.order.max()
    if not of.clock:
        return f"none: each user's own order, {first} to {last}"
    least, most = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1990, 2100))
    for unit in (1, 10**3, 10**6, 10**9):
        if least <= first / unit <= last / unit < most:
            return " to ".join(f"{datetime.fromtimestamp(at / unit, UTC):%Y-%m-%d}" for at in (first, last))
    return f"{first} to {last}"


def _verify(source: Source, root: str | None) -> None:
    folder = source.folder(root)
    if not folder.is_dir():
        raise UserError(f"{source.name} is not on disk at {folder}: {source.how}")
    if source.counts is not None:
        found = _counts(source.read(folder))
        if found != source.counts:
            raise UserError(f"{folder}: {_told(found)}; published are {_told(source.counts)}")
        print(f"{source.name}: {_told(found)}, as published")
    if source.name in CLICKS:
        expected, (clicks, _) = CLICKS[source.name].expected, tally(*click_source(source.name, root))
        if clicks != expected:
            raise UserError(f"{folder}: {clicks.told}; expected are {expected.told}")
        print(f"{source.name}: {clicks.told}, as expected")
    if source.name in LISTS:
        named = LISTS[source.name]
        lists = filtered(list_source(source.name, root), named.kept).counts
        if named.reached and lists != named.expected:
            raise UserError(f"{folder}: {lists.told}; expected are {named.expected.told}")
        verdict = "as expected" if named.reached else f"CAGE's table 5 has {named.expected.told}"
        print(f"{source.name}: {lists.told} with {named.kept.told}, {verdict}")
