"""The application that the command groups add their commands to."""

import typer

app = typer.Typer(
    help="Distillation for glioma segmentation with missing MRI sequences, on nnU-Net v2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
