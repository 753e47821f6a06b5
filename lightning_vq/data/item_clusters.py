"""Clusters of items that stand near one another in lists, found before a model is trained.

FANS clusters word2vec's vectors of items by k-means. What word2vec learns is, up to noise, a factorization of the
pointwise mutual information of items and those around them (Levy and Goldberg, "Neural Word Embedding as Implicit
Matrix Factorization", NeurIPS 2014, section 3): that matrix is factorized here directly, the same for the same data,
with the settings that Levy, Goldberg and Dagan found best (TACL 2015: counts of contexts to the power of .75, positive
values alone, U S^0.5). Shapes: E entries of all stretches, N items, K clusters, D dim.
"""

import numpy as np
import scipy.sparse as sp

from lightning_vq.data.list_loader import Stretches
from lightning_vq.data.list_splits import entries
from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array, Metadata
from lightning_vq.sources.lists import RawLists

WINDOW, DIM, SMOOTHED = 5, 64, 0.75  # word2vec's own: items on either side; width; power of a context's count


def clustered(raw: RawLists, lists: Stretches, clusters: int, seed: int) -> RawLists:
    """Return lists whose items have their cluster for a category, and no other.

    Args:
        raw: whose items.
        lists: that tell the clusters.
        clusters: how many.
        seed: see `item_clusters`.

    Raises:
        UserError: they are not fewer than the items.
    """
    items, known = len(raw.item_ids), raw.item_metadata
    if not 1 < clusters < items:
        raise UserError(f"data.init_args.clusters is {clusters}; it must be 2 or more and below the {items:,} items")
    width = len(str(clusters - 1))
    names = [[f"cluster {cluster:0{width}}"] for cluster in item_clusters(lists, items, clusters, seed)]
    return raw._replace(item_metadata=Metadata(known.titles if known else [None] * items, names))


def item_clusters(stretches: Stretches, items: int, clusters: int, seed: int) -> Array:
    """Return the cluster (N,) of each item; those in no list, or always alone, are put together.

    Args:
        stretches: of lists, that tell what stands near what.
        items: N.
        clusters: K, below N.
        seed: of the factorization and of k-means.
    """
    from sklearn.cluster import KMeans  # slow to import, for every command
    from sklearn.utils.extmath import randomized_svd

    information = pointwise_information(near(stretches, items))
    dim = min(DIM, items - 1)
    left, values, _ = randomized_svd(information, dim, random_state=seed)
    vectors = left * np.sqrt(values)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found: Array = KMeans(clusters, n_init=4, random_state=seed).fit_predict(vectors)
    return found.astype(np.int64)


def near(stretches: Stretches, items: int) -> sp.csr_array:
    """Return how often each item stands within WINDOW places of each other one in the same list (N, N)."""
    there = stretches.items[entries(stretches.begins, stretches.lengths)].numpy()
    owners = np.repeat(np.arange(len(stretches.lengths)), stretches.lengths.numpy())
    counts = sp.csr_array((items, items), dtype=np.float64)
    for gap in range(1, min(WINDOW, len(there) - 1) + 1):
        same = owners[gap:] == owners[:-gap]
        pairs = (there[:-gap][same], there[gap:][same])
        counts = counts + sp.csr_array((np.ones(same.sum()), pairs), shape=(items, items))
    return sp.csr_array(counts + counts.T)


def pointwise_information(counts: sp.csr_array) -> sp.csr_array:
    """Return max(0, log p(i, j) / (p(i) q(j))) (N, N), q being the counts to the power of SMOOTHED, for counts (N, N).

    >>> found = pointwise_information(sp.csr_array(np.array([[0.0, 2.0], [2.0, 0.0]])))
    >>> found.toarray().round(4)  # log 1/2 / (1/2 * 1/2)
    array([[0.    , 0.6931],
           [0.6931, 0.    ]])
    """
    coo = counts.tocoo()
    totals = np.asarray(counts.sum(1)).ravel()
    smoothed = totals**SMOOTHED
    ratio = coo.data / np.maximum(totals[coo.row], 1) * smoothed.sum() / smoothed[coo.col]
    made = sp.csr_array((np.maximum(np.log(ratio), 0.0), (coo.row, coo.col)), shape=counts.shape)
    made.eliminate_zeros()
    return made
