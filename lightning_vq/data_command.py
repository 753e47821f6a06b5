"""`python -m lightning_vq data list|info|download|verify`: what a source is and where it lies."""

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_vq.errors import UserError
from lightning_vq.figures import draw_frequencies
from lightning_vq.parser import Parser
from lightning_vq.sources.clicks import CLICKS, click_source, tally
from lightning_vq.sources.files import SUFFIXES, read_interactions
from lightning_vq.sources.folders import format_of, is_folder, read_folder
from lightning_vq.sources.list_files import has_lists, read_lists
from lightning_vq.sources.list_sources import LISTS, ListSource, list_source
from lightning_vq.sources.lists import Range, RawLists, filtered
from lightning_vq.sources.named import SOURCES, Source, data_root, from_local_files, located, named_source
from lightning_vq.sources.planted import PlantedOptions, planted_interactions
from lightning_vq.sources.readers import lists_only, no_interactions
from lightning_vq.sources.relevance import has_scores, read_relevance
from lightning_vq.sources.told import counts, interactions_told, lists_told, pairs_told, samples_told, told

OF_INTERACTIONS = ("refuse", "first", "last")
OF_LOGS = ("columns", "duplicates", "min_user", "min_item", "figure")  # options of `info` for a file of interactions
OPTIONS = (*OF_LOGS, "min_length", "max_length")


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
                "--duplicates", choices=("refuse", "first", "last", "mean"),
                help="of a file or folder (refuse); of scores refuse or mean, else refuse, first or last",
            )  # fmt: skip
            for option, what in (
                ("--min-user", "drop users with fewer interactions"),
                ("--min-item", "drop items with fewer interactions"),
                ("--min-length", "drop lists with fewer items"),
                ("--max-length", "keep the first K items of longer lists"),
            ):
                one.add_argument(option, type=_count, metavar="K", help=what)
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
            text = re.sub(r"--data\.init_args\.columns\.(\w+)=NAME", r"--columns '{\1: NAME}'", str(error))
            raise UserError(text.replace("--data.init_args.duplicates=", "--duplicates=")) from None
    elif options.name == "planted":
        print("planted is embedded: nothing to download, nothing to verify")
    elif options.verb == "download":
        source, root = named_source(options.name), options.root
        folder = from_local_files(source, options.files, root) if options.files else located(source, root)
        print(f"{source.name} lies in {folder}; to check it: python -m lightning_vq data verify {source.name}")
    else:
        _verify(named_source(options.name), options.root)


def _expected(source: ListSource) -> str:
    """Return what is left of a source's lists in that range, as far as it is known."""
    if source.reached:
        return f"expected  {source.expected.told}"
    return f"published {source.expected.told} (CAGE, table 5; not compared with these files so far)"


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of 1 or more, not {text!r}")
    return int(text)


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


def _duplicates(options: argparse.Namespace, known: tuple[str, ...]) -> Any:
    """Return what is to be done with rows that stand twice, or refuse what these data cannot."""
    asked = options.duplicates or "refuse"
    if asked not in known:
        raise UserError(f"--duplicates={asked}: {options.name} takes {' or '.join(known)}")
    return asked


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
    name, root = options.name, options.root
    if name == "planted":
        about = "about     interactions, clicks, lists and relevance scores from a known tree"
        raw, lines = planted_interactions(PlantedOptions()), [about]
        _only(options, "min_user", "min_item", "figure")
    elif name.endswith(SUFFIXES):
        lines = [f"file      {name}"]
        if has_lists(Path(name), options.columns):
            _only(options, "columns", *Range._fields)
            _lists_info(options, lines, read_lists(Path(name), options.columns), Range(1, 1, None))
            return
        if has_scores(Path(name), options.columns):
            _only(options, "columns", "duplicates")
            kept_of = _duplicates(options, ("refuse", "mean"))
            print("\n".join(lines + pairs_told(read_relevance(Path(name), options.columns, kept_of))))
            return
        _only(options, *OF_LOGS)
        raw = read_interactions(Path(name), options.columns, duplicates=_duplicates(options, OF_INTERACTIONS))
    elif is_folder(name):
        _only(options, *OF_LOGS)
        raw = read_folder(Path(name), options.columns, duplicates=_duplicates(options, OF_INTERACTIONS))
        lines = [f"folder    {name} ({format_of(Path(name)).name})"]
    else:
        source = named_source(name)
        folder = source.folder(root)
        lines = [f"about     {source.about}", f"licence   {source.licence}"]
        lines += [f"from      {remote.url}" for remote in source.remotes]
        if not folder.is_dir():
            lines.append(f"lies in   nowhere yet: {source.how}")
            lines += [f"published {told(source.counts)}"] if source.counts else []
            lines += [f"expected  {CLICKS[name].expected.told}"] if name in CLICKS else []
            lines += [_expected(LISTS[name])] if name in LISTS else []
            print("\n".join(lines))
            return
        lines.append(f"lies in   {folder}")
        if source.read is lists_only:
            _only(options, *Range._fields)
            papers = LISTS[name]
            _lists_info(options, lines, list_source(name, root), papers.kept, _expected(papers))
            return
        if source.read is no_interactions:
            _only(options)
            print("\n".join(lines + samples_told(name, root)))
            return
        _only(options, "min_user", "min_item", "figure")
        raw = source.read(folder)
    kept, found = interactions_told(raw, options.min_user or 1, options.min_item or 1)
    print("\n".join(lines + found))
    if options.figure:
        often = {"user": np.bincount(kept.users), "item": np.bincount(kept.items)}
        there = {vocab: of[of > 0] for vocab, of in often.items()}
        draw_frequencies(options.figure, f"{name}: how often users and items occur", there)
        print(f"figure    {options.figure}")
    if name == "planted" or name in CLICKS:
        print("\n".join(samples_told(name, root)))
    if name == "planted":
        print(f"lists     {filtered(list_source(name, root), Range(1, 1, None)).counts.told}")


def _only(options: argparse.Namespace, *taken: str) -> None:
    """Refuse options that say nothing of this kind of source."""
    for option in OPTIONS:
        if getattr(options, option) is not None and option not in taken:
            there = ", ".join(_flag(one) for one in taken) or "none"
            raise UserError(f"{_flag(option)} says nothing of {options.name}; what does: {there}")


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _lists_info(
    options: argparse.Namespace, lines: list[str], raw: RawLists, kept: Range, expected: str | None = None
) -> None:
    """Print what there is to tell of lists, in the range that papers keep or that is asked for."""
    asked = {key: getattr(options, key) for key in Range._fields if getattr(options, key)}
    print("\n".join(lines + lists_told(raw, kept._replace(**asked), None if asked else expected)))


def _verify(source: Source, root: str | None) -> None:
    folder = source.folder(root)
    if not folder.is_dir():
        raise UserError(f"{source.name} is not on disk at {folder}: {source.how}")
    if source.counts is not None:
        found = counts(source.read(folder))
        if found != source.counts:
            raise UserError(f"{folder}: {told(found)}; published are {told(source.counts)}")
        print(f"{source.name}: {told(found)}, as published")
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
