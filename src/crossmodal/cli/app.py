"""The application that the command groups add their commands to, and options that several share."""

from typing import Annotated

import typer

app = typer.Typer(
    help="Distillation for glioma segmentation with missing MRI sequences, on nnU-Net v2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Deterministic = Annotated[bool, typer.Option(help="Bit-identical on a GPU too, at a cost in time.")]
Fold = Annotated[int, typer.Option(min=0)]
BudgetName = Annotated[str, typer.Option(help="A budget (`crossmodal budgets` lists them), or a YAML file.")]
