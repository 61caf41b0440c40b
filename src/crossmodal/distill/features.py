"""Taps: the features of a U-Net at named places, from one forward pass and without hooks.

The taps are `bottleneck`, `penultimate`, `logits`, `encoder.N` (0 is the full resolution) and `decoder.N`
(0 is the lowest resolution, the order of computation); a star in the place of N means all of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Features:
    """What a U-Net computed for one batch.

    Attributes:
        encoder: outputs of the encoder's stages, (B, C_i, ...) each; the last is the bottleneck.
        decoder: outputs of the decoder's stages; the last is the penultimate one, at full resolution.
        outputs: logits of each deep-supervision scale, (B, regions, ...), full resolution first.
    """

    encoder: list[Tensor]
    decoder: list[Tensor]
    outputs: list[Tensor]

    def at(self, tap: str) -> list[Tensor]:
        """The tensors at a tap: one, or all stages for `encoder.*` and `decoder.*`."""
        part, _, stage = tap.partition(".")
        if part == "bottleneck":
            return [self.encoder[-1]]
        if part == "penultimate":
            return [self.decoder[-1]]
        if part == "logits":
            return [self.outputs[0]]
        stages = self.encoder if part == "encoder" else self.decoder
        return stages if stage == "*" else [stages[int(stage)]]

    def detached(self) -> "Features":
        """The same features without their gradient."""
        return Features(*([tensor.detach() for tensor in part] for part in (self.encoder, self.decoder, self.outputs)))


def forward(network: nn.Module, images: Tensor, skip_connections: bool = True) -> Features:
    """Run a plain or residual-encoder U-Net and keep what it computes on the way.

    This is `UNetDecoder.forward` of dynamic-network-architectures, which throws the stages away. A network
    without skip connections gets zeros in their place: the same function as a decoder that has none.

    Args:
        network: a U-Net with nnU-Net's `encoder` and `decoder`.
        images: (B, C, X, Y, Z).
        skip_connections: whether the decoder sees the encoder's stages above the bottleneck.
    """
    decoder = network.decoder
    encoder = network.encoder(images)
    below, stages, outputs = encoder[-1], [], []
    for number, (upsample, stage, head) in enumerate(
        zip(decoder.transpconvs, decoder.stages, decoder.seg_layers, strict=True)
    ):
        skip = encoder[-(number + 2)]
        below = stage(torch.cat((upsample(below), skip if skip_connections else torch.zeros_like(skip)), 1))
        stages.append(below)
        if decoder.deep_supervision or number == len(decoder.stages) - 1:
            outputs.append(head(below))
    return Features(list(encoder), stages, outputs[::-1])


def tap_channels(network: nn.Module, tap: str) -> list[int]:
    """Number of feature channels at a tap, one for each tensor that `Features.at` returns."""
    encoder = list(network.encoder.output_channels)
    decoder = encoder[-2::-1]
    regions = network.decoder.seg_layers[-1].out_channels
    sizes = Features(encoder, decoder, [regions])  # the same names lead to the channels as to the tensors
    return sizes.at(tap)
