"""`crossmodal predict` and `crossmodal predict-cases`."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import Deterministic, Device, Fold, app
from crossmodal.errors import UserError


@app.command("predict")
def predict(
    models: Annotated[Path, typer.Option(help="A model folder; its folds are averaged.")],
    out: Annotated[Path, typer.Option(help="The segmentation, .nii.gz.")],
    t1: Annotated[Path | None, typer.Option()] = None,
    t1ce: Annotated[Path | None, typer.Option()] = None,
    t2: Annotated[Path | None, typer.Option()] = None,
    flair: Annotated[Path | None, typer.Option()] = None,
    release: Annotated[
        str | None, typer.Option(help="Release whose label values are written; BraTS 1, 2, 4 by default.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Segment one case from the modalities that are there."""
    from crossmodal.device import claimed_device

    given = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
    images = {name: path for name, path in given.items() if path is not None}
    for path in images.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if not out.name.endswith((".nii.gz", ".nii")):
        raise UserError(f"--out {out}: should end in .nii.gz")
    with claimed_device(device) as kind:
        import torch

        from crossmodal.nnunet.predict import Predictor

        Predictor(models, None, torch.device(kind)).write(images, out, release)


@app.command("predict-cases")
def predict_cases(
    model: Annotated[Path, typer.Option(help="A model folder, or the manifest.json of one of its folds.")],
    cases: Annotated[Path, typer.Option(help="cases.csv.")],
    cohort: Annotated[str, typer.Option(help="Which cohort of cases.csv.")],
    modalities: Annotated[str, typer.Option(help="What the network is shown.")],
    out: Annotated[Path, typer.Option(help="Folder for <case>.nii.gz.")],
    fold: Fold = 0,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Torch threads.")] = 1,
    deterministic: Deterministic = False,
) -> None:
    """Segment a cohort's test cases (or the fold's validation cases, where none were held out)."""
    from crossmodal.cohort.cases_csv import read_cases
    from crossmodal.device import claimed_device

    with claimed_device(device) as kind:
        import torch

        from crossmodal.nnunet import predict as prediction

        torch.set_num_threads(threads)
        rows = prediction.cases_to_predict(read_cases(cases), cohort, fold)
        folder = model.parents[1] if model.is_file() else model
        prediction.predict_cases(folder, fold, rows, modalities, out, torch.device(kind), deterministic)
