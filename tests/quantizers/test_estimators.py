"""Each estimator returns the code, and sends the gradient where its definition says, derived by hand."""

import pytest
import torch

from lightning_vq.quantizers.estimators import ESTIMATORS, Estimator

E = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
C = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
G = torch.tensor([[0.5, 1.0]], dtype=torch.float64)
ZERO = [[0.0, 0.0]]
# Rotation by 90 degrees takes (1, 0) to (0, 1); R^T takes (0.5, 1) to (1, -0.5); |c| / |e| = 2/3.
ROTATED = [[2 / 3, -1 / 3]]
EXPECTED = {
    "straight_through": (G.tolist(), ZERO),
    "codebook": (ZERO, G.tolist()),
    "both": (G.tolist(), G.tolist()),
    "rotation": (ROTATED, ZERO),
}


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_value_and_gradients(name: Estimator) -> None:
    e, c = E.clone().requires_grad_(), C.clone().requires_grad_()
    value = ESTIMATORS[name](e, c)
    assert torch.equal(value, C)
    value.backward(G)
    for leaf, expected in zip((e, c), EXPECTED[name]):
        found = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_rotation_agrees_with_the_matrix_of_the_paper() -> None:
    torch.manual_seed(0)
    e, c = torch.randn(9, 5, dtype=torch.float64), torch.randn(9, 5, dtype=torch.float64)
    g = torch.randn(9, 5, dtype=torch.float64)
    leaf = e.clone().requires_grad_()
    ESTIMATORS["rotation"](leaf, c).backward(g)
    for row in range(9):
        p, q = e[row] / e[row].norm(), c[row] / c[row].norm()
        r = (p + q) / (p + q).norm()
        matrix = torch.eye(5, dtype=torch.float64) - 2 * torch.outer(r, r) + 2 * torch.outer(q, p)
        torch.testing.assert_close(matrix @ e[row] / e[row].norm() * c[row].norm(), c[row])  # it is the rotation
        scaled = c[row].norm() / e[row].norm() * matrix
        torch.testing.assert_close(leaf.grad[row], scaled.T @ g[row])


def test_rotation_of_a_vector_without_direction_goes_straight_through() -> None:
    e = torch.tensor([[0.0, 0.0], [1e-9, 0.0]], requires_grad=True)
    ESTIMATORS["rotation"](e, torch.ones(2, 2)).backward(torch.ones(2, 2))
    assert e.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]
