"""`python -m lightning_vq encode RUN FILE`: semantic ids, and neighbours by pattern, of entities that are new."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch

from lightning_vq.data.vectors import read_vectors
from lightning_vq.errors import UserError, nearest
from lightning_vq.modules.patterns import quantization_of
from lightning_vq.modules.semantic_ids import code_lists, codes_of, id_lists, ragged
from lightning_vq.parser import Parser
from lightning_vq.quantizers import DQVAE, MGQE
from lightning_vq.quantizers.neighbours import Patterns
from lightning_vq.runs import write_parquet
from lightning_vq.vocabulary import read_vocabulary


def main(arguments: Sequence[str]) -> None:
    """Code new vectors by a run's codebooks, without training.

    Args:
        arguments: of the verb.

    Raises:
        UserError: the run, the file or an option is wrong.
    """
    parser = Parser(
        prog="encode",
        description="Write the semantic ids of new vectors by the codebooks of a VectorQuantization's run, as Parquet.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("file", type=Path, help="Parquet: a column of ids, named as the vocabulary, and `vector`")
    parser.add_argument("--vocabulary", help="what the vectors are of, such as item; needed where the run has several")
    parser.add_argument("--links", type=int, default=0, metavar="K", help="also the K nearest of the run's entities")
    parser.add_argument("--out", type=Path, required=True, help="file to be written")
    told = parser.parse_args(list(arguments))
    if told.out.suffix != ".parquet":
        raise UserError(f"encode: --out {told.out} is no name of a .parquet file")
    if told.out.exists():
        raise UserError(f"encode: --out {told.out} is there already: choose another")
    if not told.file.is_file():
        raise UserError(f"encode: there is no file {told.file}")
    module = quantization_of(told.run)
    names = list(module.quantizers)
    vocab = told.vocabulary or (names[0] if len(names) == 1 else "")
    if not vocab:
        raise UserError(f"encode: the run codes {' and '.join(names)}: say of which the file is by --vocabulary")
    if vocab not in names:
        raise UserError(f"encode: --vocabulary is {vocab!r}{nearest(vocab, names)}")
    if isinstance(module.quantizers[vocab], MGQE):
        raise UserError("encode: MGQE codes an entity by how frequent it is, which is not known of new ones")
    if told.links < 0:
        raise UserError(f"encode: --links is {told.links}; it must not be negative")
    ids, vectors = read_vectors(told.file, vocab)
    if vectors.shape[1] != module.backbone.dim:
        raise UserError(
            f"{told.file}: vectors are of {vectors.shape[1]} numbers, those of the run of {module.backbone.dim}"
        )
    with torch.no_grad():
        codes, known = codes_of(module, vocab, vectors), codes_of(module, vocab, module.tables[vocab])
        columns: dict[str, pa.Array] = {vocab: ids, "codes": code_lists(codes)}
        if told.links:
            quantizer = module.quantizers[vocab]
            if not isinstance(quantizer, DQVAE):
                raise UserError(f"encode: --links: {type(quantizer).__name__} has no patterns; only a DQVAE has")
            found = Patterns(known, quantizer.distances()).nearest(codes, told.links)
            columns["neighbours"] = id_lists(read_vocabulary(told.run, vocab).ids, found.rows)
            columns["distances"] = ragged(found.rows, found.distances)
            if told.links > len(known):
                print(f"The run knows {len(known):,} {vocab}s: each new one has these for neighbours, and no more")
    write_parquet(told.out, columns)
    shared = (torch.cat([known, codes]).unique(dim=0, return_inverse=True)[1]).tensor_split([len(known)])
    same = torch.isin(shared[1], shared[0]).sum()
    print(f"{len(ids):,} {vocab}s coded; {int(same):,} have the semantic id of one that the run has seen")
    print(f"Written: {told.out}")
