"""Torch without its compiler: nothing is imported for it, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import torch

from clarity.models.lean import adamw, take_step

#: What a training and an evaluation ask of torch and piq; then whatever else they may want.
SCRIPT = """
import sys, torch
from clarity.models.build import build
from clarity.models.flops import flops
from clarity.models.lean import adamw, take_step
from clarity.models.loss import criterion
from clarity.evaluate.perceptual import perceptual
from clarity.layout import Shape
from clarity.params import Model
network = build(Model(family="conv", widths=[4, 8]), "conv", Shape(64, 3))
optimizer = adamw([{"params": list(network.parameters()), "lr": 0.1}])
images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
criterion({"ssim": 0.5, "ms-ssim": 0.5})(network(images), images).backward()
take_step(optimizer)
optimizer.zero_grad()
optimizer.state_dict()
assert flops(network) > 0
assert set(perceptual(images, images, every=False)) >= {"fsim", "mdsi"}
print("torch._dynamo" in sys.modules, "torchvision" in sys.modules)
import piq
print(piq.haarpsi(images, images).item() > 0.99, callable(piq.FID))
"""


def test_no_stage_imports_the_compiler_and_piq_is_whole_for_others() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "True", "True"], done.stdout + done.stderr


def test_a_step_is_the_optimisers_own() -> None:
    ends = []
    for step in (take_step, torch.optim.AdamW.step):
        weights = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        optimizer = adamw([{"params": [weights], "lr": 0.1, "weight_decay": 0.2}])
        for number in range(3):
            weights.grad = torch.full_like(weights, 1.0 + number)
            step(optimizer)
        ends.append(weights.detach().clone())
    assert torch.equal(*ends)
