"""Click-through rate backbones as their papers write them: plain torch, one sample at a time."""

import re
from itertools import combinations, count

import torch
from field_samples import DIM, Reference, Wide
from torch import Tensor


def perceptron(w: Wide, name: str, x: Tensor) -> Tensor:
    for k in count():
        if f"{name}.layers.{k}.weight" not in w:
            return x
        x = (w[f"{name}.layers.{k}.weight"] @ x + w[f"{name}.layers.{k}.bias"]).clamp_min(0)


def pairs(vectors: list[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in combinations(vectors, 2)]).sum()


def deepfm(w: Wide, vectors: list[Tensor]) -> Tensor:
    return pairs(vectors) + w["output.weight"][0] @ perceptron(w, "deep", torch.cat(vectors))


def dcn(layers: int) -> Reference:
    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        x0 = x = torch.cat(vectors)
        for k in range(layers):
            x = x0 * (x * w[f"cross.{k}.weight"][0]).sum() + w[f"cross_bias.{k}"] + x
        return w["output.weight"][0] @ torch.cat([x, perceptron(w, "deep", x0)])

    return logit


def fibinet(kind: str) -> Reference:
    def bilinear(w: Wide, name: str, vectors: list[Tensor]) -> list[Tensor]:
        made = []
        for i, j in combinations(range(len(vectors)), 2):
            whole = w[f"{name}.matrices.{0 if kind == 'all' else i}"]
            of_pair = whole[:, (j - i - 1) * DIM : (j - i) * DIM] if kind == "interaction" else whole
            made.append((vectors[i] @ of_pair) * vectors[j])
        return made

    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        z = torch.stack([v.sum() / DIM for v in vectors])
        a = (w["excited.weight"] @ (w["squeezed.weight"] @ z).clamp_min(0)).clamp_min(0)
        both = bilinear(w, "raw", vectors) + bilinear(w, "weighted", [a[i] * v for i, v in enumerate(vectors)])
        return w["output.weight"][0] @ perceptron(w, "deep", torch.cat(both))

    return logit


def finalmlp(heads: int, contexts: dict[str, list[int]] | None) -> Reference:
    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        made = {}
        for stream in ("first", "second"):
            x = torch.cat(vectors)
            if contexts is not None:
                gate = w.get(f"{stream}_gate.constant")
                if contexts[stream]:
                    context = torch.cat([vectors[i] for i in contexts[stream]])
                    hidden = perceptron(w, f"{stream}_gate.network", context)
                    gate = w[f"{stream}_gate.output.weight"] @ hidden + w[f"{stream}_gate.output.bias"]
                x = x * 2 / (1 + torch.exp(-gate))
            made[stream] = perceptron(w, stream, x)
        y = w["first_output.bias"][0]
        y = y + w["first_output.weight"][0] @ made["first"] + w["second_output.weight"][0] @ made["second"]
        for h, (a, b) in enumerate(zip(made["first"].chunk(heads), made["second"].chunk(heads))):
            y = y + a @ w["fusion"][h] @ b
        return y

    return logit


def normed(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean()
    return gain * centred / torch.sqrt((centred**2).mean() + 1e-5) + shift


def masknet(kind: str) -> Reference:
    def block(w: Wide, k: int, v: Tensor, x: Tensor) -> Tensor:
        part = {name: w[f"mask_blocks.{k}.{name}"] for name in ("hidden.weight", "norm.weight", "norm.bias")}
        hidden = w[f"mask_blocks.{k}.aggregated.weight"] @ v + w[f"mask_blocks.{k}.aggregated.bias"]
        mask = w[f"mask_blocks.{k}.projected.weight"] @ hidden.clamp_min(0) + w[f"mask_blocks.{k}.projected.bias"]
        return normed(part["hidden.weight"] @ (mask * x), part["norm.weight"], part["norm.bias"]).clamp_min(0)

    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        gains, shifts = w["gains"].chunk(len(vectors)), w["shifts"].chunk(len(vectors))
        v, x = torch.cat(vectors), torch.cat([normed(*of) for of in zip(vectors, gains, shifts)])
        blocks = sum(1 for name in w if re.fullmatch(r"mask_blocks\.\d\.norm\.bias", name))
        if kind == "serial":
            for k in range(blocks):
                x = block(w, k, v, x)
        else:
            x = perceptron(w, "deep", torch.cat([block(w, k, v, x) for k in range(blocks)]))
        return w["output.weight"][0] @ x + w["output.bias"][0]

    return logit


def gdcn(kind: str, layers: int) -> Reference:
    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        c0 = c = torch.cat(vectors)
        for k in range(layers):
            gate = 1 / (1 + torch.exp(-w[f"gates.{k}.weight"] @ c))
            c = c0 * (w[f"cross.{k}.weight"] @ c + w[f"cross.{k}.bias"]) * gate + c
        last = perceptron(w, "deep", c) if kind == "stacked" else torch.cat([c, perceptron(w, "deep", c0)])
        return w["output.weight"][0] @ last + w["output.bias"][0]

    return logit
