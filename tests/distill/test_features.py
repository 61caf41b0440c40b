"""Taps: our forward pass is the network's own, and each name leads to the right tensor."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.helper import convert_dim_to_conv_op, get_matching_instancenorm

from crossmodal.distill import forward, tap_channels

COMMON = {
    "n_stages": 3,
    "features_per_stage": [4, 6, 8],
    "kernel_sizes": 3,
    "strides": [1, 2, 2],
    "num_classes": 3,
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": torch.nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
    "deep_supervision": True,
}
ARCHITECTURES = {"plain": (PlainConvUNet, "n_conv_per_stage"), "residual": (ResidualEncoderUNet, "n_blocks_per_stage")}


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def dims(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=ARCHITECTURES)
def network(request: pytest.FixtureRequest, dims: int) -> torch.nn.Module:
    torch.manual_seed(0)
    architecture, depth = ARCHITECTURES[request.param]
    conv_op = convert_dim_to_conv_op(dims)
    norm_op = get_matching_instancenorm(conv_op)
    return architecture(2, conv_op=conv_op, norm_op=norm_op, **{depth: [1, 1, 1]}, **COMMON)


@pytest.fixture
def images(dims: int) -> torch.Tensor:
    return torch.randn(2, 2, *[16] * dims, generator=torch.Generator().manual_seed(0))


def test_outputs_are_the_network_s_own(network: torch.nn.Module, images: torch.Tensor) -> None:
    for ours, theirs in zip(forward(network, images).outputs, network(images), strict=True):
        assert torch.equal(ours, theirs)
    network.decoder.deep_supervision = False
    assert torch.equal(forward(network, images).outputs[0], network(images))


@pytest.mark.parametrize(
    ("tap", "channels", "sizes"),
    [
        ("bottleneck", [8], [4]),
        ("penultimate", [4], [16]),
        ("logits", [3], [16]),
        ("encoder.0", [4], [16]),
        ("encoder.2", [8], [4]),
        ("encoder.*", [4, 6, 8], [16, 8, 4]),
        ("decoder.0", [6], [8]),
        ("decoder.1", [4], [16]),
        ("decoder.*", [6, 4], [8, 16]),
    ],
)
def test_each_tap_has_its_tensors(
    network: torch.nn.Module, images: torch.Tensor, tap: str, channels: list[int], sizes: list[int]
) -> None:
    found = [tuple(tensor.shape) for tensor in forward(network, images).at(tap)]
    assert found == [(2, c, *[size] * (images.ndim - 2)) for c, size in zip(channels, sizes, strict=True)]
    assert tap_channels(network, tap) == channels


@pytest.mark.parametrize("tap", ["encoder.3", "decoder.2", "decoder.-1", "decodr.0", "encoder", "neck.*", ""])
def test_a_tap_that_is_not_there_is_a_value_error(network: torch.nn.Module, tap: str) -> None:
    with pytest.raises(ValueError, match=r"no tap '.*' here: .*, encoder.2, encoder.\*, .*, decoder.1, decoder.\*"):
        tap_channels(network, tap)


def test_detached_features_have_no_gradient(network: torch.nn.Module, images: torch.Tensor) -> None:
    features = forward(network, images)
    detached = features.detached()
    assert features.outputs[0].requires_grad
    for part in ("encoder", "decoder", "outputs"):
        for kept, original in zip(getattr(detached, part), getattr(features, part), strict=True):
            assert not kept.requires_grad
            assert torch.equal(kept, original)


def test_without_skip_connections_only_the_bottleneck_reaches_the_output(
    network: torch.nn.Module, images: torch.Tensor
) -> None:
    features, decoder = forward(network, images, skip_connections=False), network.decoder
    below = features.encoder[-1]
    for upsample, stage in zip(decoder.transpconvs, decoder.stages, strict=True):
        upsampled = upsample(below)
        below = stage(torch.cat((upsampled, torch.zeros_like(upsampled)), 1))
    assert torch.allclose(decoder.seg_layers[-1](below), features.outputs[0], atol=1e-6)


def test_a_gradient_at_an_in_place_activation_is_whole(network: torch.nn.Module, images: torch.Tensor) -> None:
    features = forward(network, images)
    gradients = torch.autograd.grad(features.outputs[0].pow(2).sum(), [*features.encoder, *features.decoder])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
