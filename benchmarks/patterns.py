"""What DQRec's second stage costs: a DQ-VAE on many vectors, and links by pattern with latent ones.

    python benchmarks/patterns.py [--rows 1000000] [--epochs 1] [--entities 100000] [--threads 2]

Vectors are of 2,000 normal clusters with a decaying spectrum, 64 numbers each. The links are K = 30
neighbours of each entity and K' = 2 more of each latent pattern, L = 4, J = 128. By brute force is what 1,000 entities
took by distances between vectors, times how many thousands there are. Each part in a process of its own, so that the
memory is its. Of the fit no files are written. k-means comes before its first epoch; conf/dqrec has at most 30 epochs.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch

from lightning_vq.backbones.vectors import Vectors
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import VectorData
from lightning_vq.modules import VectorQuantization
from lightning_vq.modules.semantic_ids import write_links
from lightning_vq.quantizers import DQVAE
from lightning_vq.trainer import Trainer
from lightning_vq.types import Table

DIM, GROUPS, CODES, K, LATENT = 64, 4, 128, 30, 2


def drawn(rows: int) -> torch.Tensor:
    torch.manual_seed(0)
    centres = torch.randn(2000, DIM) * torch.logspace(0, -1, DIM)
    return centres[torch.randint(2000, (rows,))] + 0.3 * torch.randn(rows, DIM) * torch.logspace(0, -1, DIM)


def begun(threads: int) -> None:
    torch.set_num_threads(threads)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB


def learned(rows: int, epochs: int) -> tuple[float, float, float]:
    """Return seconds of a fit from k-means through epochs, the share of variance that it loses, and peak GiB."""
    data = VectorData("drawn")
    data.ids, data.tables = {"item": pa.array(range(rows))}, {"item": drawn(rows)}
    module = VectorQuantization(Vectors(DIM))
    factory = partial(DQVAE, groups=GROUPS, codes=CODES, init="kmeans")
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[QuantizationCallback({"item": factory})],
    )  # fmt: skip
    module.check = lambda data: None  # type: ignore[method-assign]  # there is no file to be looked for
    began = time.perf_counter()
    trainer.fit(module, datamodule=data)
    seconds = time.perf_counter() - began
    return seconds, float(trainer.callback_metrics["val/distortion"]), peak()


def linked(entities: int) -> tuple[float, float, float]:
    """Return seconds that all links take, that brute force would take, and peak GiB of the links."""
    vectors, every = drawn(entities), torch.arange(entities)
    module = VectorQuantization(Vectors(DIM))
    quantizer = DQVAE(entities, DIM, groups=GROUPS, codes=CODES, init="kmeans")
    quantizer.start(Table(vectors))
    module.tables["item"], module.quantizers["item"] = torch.nn.Parameter(vectors, False), quantizer
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        write_links(Path(folder), module, "item", pa.array(every.numpy()), K, LATENT)
        seconds, memory = time.perf_counter() - began, peak()
    known = quantizer.decode(quantizer.encode(vectors, every), every).detach()
    began = time.perf_counter()
    for part in known[:1000].split(100):
        torch.cdist(part, known).topk(K + 1, largest=False)
    one = (time.perf_counter() - began) * entities / 1000
    return seconds, one * (1 + GROUPS), memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, begun, (o.threads,), maxtasksperchild=1) as pool:
        seconds, lost, memory = pool.apply(learned, (o.rows, o.epochs))
        told = f"{o.epochs} epoch{'s' * (o.epochs > 1)}: {seconds:.0f} s, {lost:.1%} lost, {memory:.1f} GiB"
        print(f"DQ-VAE on {o.rows:,} vectors, k-means and {told}")
        seconds, brute, memory = pool.apply(linked, (o.entities,))
        print(f"links of {o.entities:,}: {seconds:.0f} s, {memory:.1f} GiB; by brute force {brute:.0f} s")


if __name__ == "__main__":
    main()
