"""Taps: the features of a U-Net at named places, from one forward pass and without hooks, in 2D or 3D.

The taps are `bottleneck`, `penultimate`, `logits`, `encoder.N` (0 has the full resolution) and `decoder.N` (0 has
the lowest resolution: it is computed first). `encoder.*` and `decoder.*` are all stages.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Features:
    """What a U-Net computed for one batch.

    Attributes:
        encoder: outputs of the encoder's stages, (B, C_i, ...) each; the last is the bottleneck.
        decoder: outputs of the decoder's stages, (B, C_i, ...) each; the last is the penultimate layer.
        outputs: logits of each deep-supervision scale, (B, regions, ...), full resolution first.
    """

    encoder: list[Tensor]
    decoder: list[Tensor]
    outputs: list[Tensor]

    def at(self, tap: str) -> list[Tensor]:
        """The tensors at a tap: one, or all stages' at `encoder.*` and `decoder.*`. ValueError for an unknown tap."""
        named = {"bottleneck": self.encoder[-1:], "penultimate": self.decoder[-1:], "logits": self.outputs[:1]}
        for part, stages in (("encoder", self.encoder), ("decoder", self.decoder)):
            named |= {f"{part}.{number}": [stage] for number, stage in enumerate(stages)} | {f"{part}.*": stages}
        if tap not in named:
            raise ValueError(f"no tap '{tap}' here: there are {', '.join(named)}")
        return named[tap]

    def detached(self) -> "Features":
        """The same features without their gradient."""
        return Features(*([tensor.detach() for tensor in part] for part in (self.encoder, self.decoder, self.outputs)))


def forward(network: nn.Module, images: Tensor, skip_connections: bool = True) -> Features:
    """Run a plain or residual-encoder U-Net and keep the features of each stage.

    This repeats `UNetDecoder.forward` of dynamic-network-architectures, which returns the outputs alone.

    Args:
        network: a U-Net with the `encoder` and `decoder` of dynamic-network-architectures (nnU-Net's).
        images: (B, C, X, Y) or (B, C, X, Y, Z).
        skip_connections: False gives the decoder zeros in place of the encoder's stages above the bottleneck: the
            same function as a decoder without skip connections.
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
    """Number of channels at a tap, one for each tensor that `Features.at` returns.

    Args:
        network: as for `forward`.
        tap: name of the tap.

    Raises:
        ValueError: the network has no such tap.
    """
    encoder = list(network.encoder.output_channels)
    # The names of taps select from lists of channels as they do from lists of tensors.
    return Features(encoder, encoder[-2::-1], [network.decoder.seg_layers[-1].out_channels]).at(tap)
