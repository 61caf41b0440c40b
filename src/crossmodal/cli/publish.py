"""`crossmodal publish`, `crossmodal restore` and `crossmodal crate`."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app

Experiment = Annotated[Path, typer.Argument(help="results/<experiment>.")]


@app.command("publish")
def publish(
    experiment: Experiment,
    remote: Annotated[
        str | None, typer.Option(help="A folder, s3://bucket/folder, ssh://host/folder, or a DVC remote's name.")
    ] = None,
    preprocessed: Annotated[
        bool | None, typer.Option(help="Preprocessed data too; by default as the config says.")
    ] = None,
) -> None:
    """Put a finished experiment's models, predictions and scores under DVC, and push them."""
    from crossmodal.publishing.publish import publish

    publish(experiment, remote, preprocessed)


@app.command("restore")
def restore(
    experiment: Experiment,
    skip: Annotated[list[str] | None, typer.Option(help="Leave a group out, such as preprocessed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ from the published ones.")] = False,
) -> None:
    """Fetch a published experiment, check every hash, and leave snakemake nothing to do."""
    from crossmodal.publishing.restore import restore

    restore(experiment, tuple(skip or ()), force)


@app.command("crate")
def crate(
    experiment: Experiment,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; build/crate/<experiment> by default. An older crate is replaced."),
    ] = None,
    include: Annotated[list[str] | None, typer.Option(help="Copy these too: models, predictions.")] = None,
    author: Annotated[str | None, typer.Option(help="Name of the person who ran it.")] = None,
) -> None:
    """Hand a run over: a Workflow Run RO-Crate with its results, settings, hashes, steps and reporting checklist."""
    from crossmodal.publishing.crate import write_crate

    print(write_crate(experiment, out, tuple(include or ()), author))
