"""How a budget computes: autocast, the layout of tensors, compiling."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.experiment.budget import Budget


class Precision:
    """Part of a trainer that has a `budget` and a `device`."""

    budget: Budget
    device: torch.device

    def autocast(self) -> Any:
        """nnU-Net's own autocast by default; the budget's otherwise."""
        precision = self.budget.precision
        if precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        if precision == "default" and self.device.type == "cuda":
            return torch.autocast("cuda")
        return nullcontext()

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move an image batch to the device, in the budget's memory format."""
        tensor = tensor.to(self.device, non_blocking=True)
        if self.budget.memory_format == "channels_last_3d":
            tensor = tensor.to(memory_format=torch.channels_last_3d)
        return tensor

    def placed(self, module: nn.Module) -> nn.Module:
        """The module on the device, in the budget's memory format, compiled where the budget says so."""
        if self.budget.memory_format == "channels_last_3d":
            module = module.to(memory_format=torch.channels_last_3d)
        module = module.to(self.device)
        if self.device.type == "cpu":
            # nnU-Net's act in place on a view, for which autograd copies each gradient three times: 3% of a step.
            for activation in (part for part in module.modules() if isinstance(part, nn.LeakyReLU)):
                activation.inplace = False
        if self._do_i_compile() and hasattr(module, "encoder"):
            for part in (module.encoder, *module.decoder.stages):
                part.compile()  # in place: the names of the weights stay
        return module

    def _do_i_compile(self) -> bool:  # nnU-Net asks before there is a budget
        return hasattr(self, "budget") and self.budget.compile and self.device.type == "cuda"
