"""Taps: our forward pass is the network's own, and each name leads to the right tensor."""

import pytest
import torch
from crossmodal.distill.features import forward, tap_channels
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

COMMON = {
    "n_stages": 3,
    "features_per_stage": [4, 6, 8],
    "conv_op": torch.nn.Conv3d,
    "kernel_sizes": 3,
    "strides": [1, 2, 2],
    "num_classes": 3,
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": torch.nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": torch.nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
    "deep_supervision": True,
}


@pytest.fixture(params=["plain", "residual"])
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    if request.param == "plain":
        return PlainConvUNet(input_channels=2, n_conv_per_stage=[1, 1, 1], **COMMON)
    return ResidualEncoderUNet(input_channels=2, n_blocks_per_stage=[1, 1, 1], **COMMON)


def test_outputs_are_the_network_s_own(network: torch.nn.Module) -> None:
    images = torch.randn(2, 2, 16, 16, 16)
    for ours, theirs in zip(forward(network, images).outputs, network(images), strict=True):
        assert torch.equal(ours, theirs)
    network.decoder.deep_supervision = False
    assert torch.equal(forward(network, images).outputs[0], network(images))


@pytest.mark.parametrize(
    ("tap", "channels", "size"),
    [
        ("bottleneck", 8, 4),
        ("penultimate", 4, 16),
        ("logits", 3, 16),
        ("encoder.0", 4, 16),
        ("encoder.2", 8, 4),
        ("decoder.0", 6, 8),
        ("decoder.1", 4, 16),
    ],
)
def test_each_tap_has_its_tensor(network: torch.nn.Module, tap: str, channels: int, size: int) -> None:
    (tensor,) = forward(network, torch.randn(1, 2, 16, 16, 16)).at(tap)
    assert tuple(tensor.shape) == (1, channels, size, size, size)
    assert tap_channels(network, tap) == [channels]


def test_the_star_means_all_stages(network: torch.nn.Module) -> None:
    features = forward(network, torch.randn(1, 2, 16, 16, 16))
    assert len(features.at("encoder.*")) == 3
    assert tap_channels(network, "encoder.*") == [4, 6, 8]
    assert tap_channels(network, "decoder.*") == [6, 4]


def test_without_skip_connections_only_the_bottleneck_reaches_the_output(network: torch.nn.Module) -> None:
    images = torch.randn(1, 2, 16, 16, 16)
    features = forward(network, images, skip_connections=False)
    gradients = torch.autograd.grad(features.outputs[0].sum(), features.encoder, allow_unused=True)
    assert gradients[-1] is not None
    # the upper stages matter only as the way to the bottleneck
    bottleneck = features.encoder[-1].detach()
    with_other_skips = forward(network, images * 0 + 5, skip_connections=False)
    assert not torch.equal(with_other_skips.encoder[0], features.encoder[0])
    below = bottleneck
    decoder = network.decoder
    for upsample, stage in zip(decoder.transpconvs, decoder.stages, strict=True):
        upsampled = upsample(below)
        below = stage(torch.cat((upsampled, torch.zeros_like(upsampled)), 1))
    assert torch.allclose(decoder.seg_layers[-1](below), features.outputs[0], atol=1e-6)


def test_a_gradient_at_an_in_place_activation_is_whole(network: torch.nn.Module) -> None:
    features = forward(network, torch.randn(1, 2, 16, 16, 16))
    gradients = torch.autograd.grad(features.outputs[0].pow(2).sum(), [*features.encoder, *features.decoder])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
