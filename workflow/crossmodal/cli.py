"""The command line: each step of the workflow is one of these commands and can be run by hand.

Commands import what they need when they run: `crossmodal --help` must not wait for torch.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from crossmodal.errors import UserError

app = typer.Typer(
    help="Distillation for glioma segmentation with missing MRI sequences, on nnU-Net v2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cohort_app = typer.Typer(help="Make, check and split cohorts.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cohort_app, name="cohort")


# --- cohort ---------------------------------------------------------------------------------------------------


@cohort_app.command("phantom")
def cohort_phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write the cohort into.")],
    cases: Annotated[int, typer.Option(help="Number of cases.")] = 40,
    spacing: Annotated[float, typer.Option(help="Voxel edge in mm; 1 gives 240×240×155 as in BraTS.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Case k is the same for a seed, however many cases.")] = 2023,
    site: Annotated[str, typer.Option(help="A, or B: other scanners and another mix of cases.")] = "A",
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when not given.")] = None,
) -> None:
    """Write glioma phantoms laid out as BraTS 2020 is."""
    from crossmodal.cohort.phantom import write_cohort

    write_cohort(out, cases, spacing, seed, site, workers)


# --- dataset and training -------------------------------------------------------------------------------------


# --- evaluation -----------------------------------------------------------------------------------------------


# --- figures and report ---------------------------------------------------------------------------------------


def main() -> None:
    """Entry point of `crossmodal`: a user's mistake ends in one message and exit code 1."""
    try:
        app()
    except UserError as error:
        print(f"crossmodal: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
