"""A budget: how much training, and which network."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from crossmodal.data import BUDGETS
from crossmodal.errors import UserError, nearest
from crossmodal.experiment.validation import Model, read_yaml

Size = Annotated[int, Field(ge=8)]
Positive = Annotated[int, Field(ge=1)]
Millimetres = Annotated[int | float, Field(gt=0)]


# Keys that version 0.1 did not have, with what it did.
SINCE = {"augment_on": "loader", "learning_rate": 0.01}


class Budget(Model):
    """How much training, and which network. A null leaves nnU-Net's own plan as it is."""

    title: str
    """One line for the report: what this budget is for."""
    epochs: int = Field(1000, ge=1)
    """Number of epochs."""
    steps_per_epoch: int = Field(250, ge=1)
    """Training batches an epoch."""
    learning_rate: float = Field(0.01, gt=0, lt=1)
    """Learning rate of the first epoch, which falls to 0 as in nnU-Net; to fine-tune, a tenth of the default."""
    val_steps_per_epoch: int = Field(50, ge=1)
    """Validation batches an epoch (nnU-Net's online pseudo Dice)."""
    spacing: list[Millimetres] | None = Field(None, min_length=3, max_length=3)
    """Voxel spacing in mm that cases are resampled to."""
    patch_size: list[Size] | None = Field(None, min_length=3, max_length=3)
    """Patch size in voxels."""
    batch_size: Positive | None = None
    """Patches a batch."""
    features: list[Positive] | None = Field(None, min_length=3)
    """Features of each stage, of 3 stages or more: with two, deep supervision has no weight left."""
    mirroring: bool = True
    """Average predictions over mirrored inputs (8 forwards), as nnU-Net does."""
    threads: int = Field(4, ge=1)
    """Torch threads of a training: set here and never from --cores, since one and two threads round differently."""
    loader_workers: int = Field(8, ge=0)
    """Processes that load and augment; 0: in the training process, with stock nnU-Net's own random stream."""
    augment_on: Literal["loader", "device"] = "loader"
    """Where batches are augmented, with nnU-Net's transforms and probabilities: loader, by the processes that load
    them; device, where the network is, from a random stream for each batch. Not measured on a GPU yet."""
    memory_format: Literal["contiguous", "channels_last_3d"] = "contiguous"
    """Layout of tensors; channels_last_3d is faster on CPUs and rounds differently from stock nnU-Net."""
    precision: Literal["default", "fp32", "bf16", "bf16_where_fast"] = "default"
    """default: nnU-Net's own (fp16 autocast on a GPU, fp32 on a CPU). bf16: bfloat16 autocast, which rounds differently
    from stock nnU-Net. bf16_where_fast: bf16 where it was measured to be faster (GPUs, processors with AMX, AMD's
    with AVX-512 BF16), else default; the choice is recorded with the model."""
    compile: bool = False
    """torch.compile the network (GPU only)."""
    save_every_minutes: int | float = Field(10, ge=0)
    """Minutes between two saves of the training state."""
    memory_gb: int | float = Field(24, gt=0)
    """Main memory that a training asks a cluster for, in GB."""
    runtime_hours: int | float = Field(12, gt=0)
    """Time that training one network asks a cluster for; with a teacher beside it, it asks for more."""

    @model_validator(mode="after")
    def _patch_fits_the_stages(self) -> Self:
        if self.features is not None and self.patch_size is not None:
            divisor = 2 ** (len(self.features) - 1)
            for axis, size in enumerate(self.patch_size):
                if size % divisor:
                    raise ValueError(
                        f"'patch_size' {self.patch_size} cannot be used with {len(self.features)} stages ('features'): "
                        f"axis {axis} must be a multiple of {divisor}"
                    )
        return self

    @model_serializer(mode="wrap")
    def _as_before_there_was_a_choice(self, write: SerializerFunctionWrapHandler) -> dict:
        """Without what version 0.1 did not record, where it says what was done then."""
        return {key: value for key, value in write(self).items() if key not in SINCE or value != SINCE[key]}

    @property
    def steps(self) -> int:
        """Training steps of one network."""
        return self.epochs * self.steps_per_epoch

    @property
    def number_of_stages(self) -> int:
        """Encoder stages of the network; where nnU-Net plans it, the six that it plans for BraTS."""
        return len(self.features) if self.features is not None else 6

    def dataset_fields(self) -> dict:
        """The part that the preprocessed data depend on."""
        return self.model_dump(include={"spacing", "patch_size", "batch_size", "features"})


def load_budget(name: str) -> Budget:
    """A budget of the library by name, or one's own by the path of a YAML file. Raises UserError when it is wrong."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else BUDGETS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"unknown budget '{name}': {nearest(name, [file.stem for file in BUDGETS.glob('*.yaml')])}")
    return Budget.parse(read_yaml(path), str(path))
