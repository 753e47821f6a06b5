"""Parts that backbones share."""

import pytest
import torch

from lightning_vq.backbones.layers import dropped


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_and_keeps_the_mean_and_scales_the_gradient(share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(500, 401, requires_grad=True)  # not a multiple of four
    y = dropped(x, share, True)
    kept = y.detach() > 0
    spread = (share * (1 - share) / x.numel()) ** 0.5
    assert abs(float((~kept).float().mean()) - share) < 4 * spread
    # neither rows nor columns, nor the four numbers of one draw, share their fate
    for part in (kept.float().mean(0), kept.float().mean(1)):
        assert float((part - (1 - share)).abs().max()) < 5 * (share * (1 - share) / 401) ** 0.5
    fours = kept.flatten()[: 4 * (x.numel() // 4)].view(-1, 4).float()
    assert float((torch.corrcoef(fours.T) - torch.eye(4)).abs().max()) < 0.02
    torch.testing.assert_close(y.detach()[kept], torch.full((int(kept.sum()),), 1 / (1 - share)), rtol=1e-4, atol=0)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach(), rtol=0, atol=0)


def test_dropout_is_drawn_by_the_seed_and_rests_in_evaluation() -> None:
    x = torch.randn(7, 5)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(dropped(x, 0.5, True))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert dropped(x, 0.5, False) is x
    assert dropped(x, 0.0, True) is x
    assert dropped(x.bfloat16(), 0.5, True).dtype == torch.bfloat16
