"""Steps a second of a small network, trained by several processes that share one GPU.

    python bench/gpu_sharing.py 12
    nvidia-cuda-mps-control -d && python bench/gpu_sharing.py 12     with NVIDIA's MPS

A network of 16 convolutions with 8 to 32 features, on two patches of 40×48×40 voxels, about as small as the demo's: its
kernels do not fill a GPU. In each step: nnU-Net's autocast, SGD, clipped gradients, and the loss read back.
"""

import itertools
import multiprocessing
import os
import time

import torch
import typer
from torch import nn

SECONDS, WARM_UP = 5, 5
FEATURES = (4, *4 * [8], *5 * [16], *7 * [32])


def network() -> nn.Sequential:
    """Convolutions with instance norm and LeakyReLU; where features double, one that halves the size."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(FEATURES):
        halves = after == 2 * before and before >= 8
        layers.append(nn.Conv3d(before, after, 3, stride=2 if halves else 1, padding=1))
        if not halves:
            layers += [nn.InstanceNorm3d(after, affine=True), nn.LeakyReLU(inplace=True)]
    return nn.Sequential(*layers)


def train(found: multiprocessing.Queue, together: multiprocessing.Event) -> None:
    """One process's work: puts 0 when it is ready, then its steps a second."""
    net = network().cuda()
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.99, nesterov=True)
    images = torch.randn(2, FEATURES[0], 40, 48, 40, device="cuda")

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda"):
            loss = net(images).float().square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 12)
        optimizer.step()
        return loss.item()

    for _ in range(WARM_UP):
        step()
    found.put(0)
    together.wait()
    steps, start = 0, time.monotonic()
    while time.monotonic() - start < SECONDS:
        step()
        steps += 1
    found.put(steps / (time.monotonic() - start))


def main(processes: int) -> None:
    """Print the steps a second of all PROCESSES."""
    if not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use: nothing measured")
    context = multiprocessing.get_context("spawn")
    found, together = context.Queue(), context.Event()
    running = [context.Process(target=train, args=(found, together)) for _ in range(processes)]
    for process in running:
        process.start()
    for _ in running:
        found.get(timeout=120)
    together.set()
    speed = sum(found.get(timeout=120) for _ in running)
    sharing = "MPS" if os.environ.get("CUDA_MPS_PIPE_DIRECTORY") else "time slices"
    print(f"{processes} processes ({sharing}): {speed:.0f} steps a second in all")


if __name__ == "__main__":
    typer.run(main)
