"""`crossmodal methods`, `budgets` and `schemas`: what the library holds."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app


@app.command("methods")
def methods(
    methods_folder: Annotated[Path | None, typer.Option(help="A folder with recipes of your own as well.")] = None,
) -> None:
    """List the recipes: title, source, teacher, and the terms of the distillation."""
    from crossmodal.experiment import recipe as recipes

    folders = [methods_folder] if methods_folder else []
    for name in recipes.known_methods(folders):
        recipe = recipes.load(name, folders)
        print(f"{name}\n  {recipe.title}\n  source: {recipe.source}")
        if recipe.teacher:
            who = f" ({recipe.teacher.method})" if recipe.teacher.trained == "beforehand" else ""
            sees = "" if recipe.teacher.trained == "itself" else f", sees {recipe.teacher.sees}"
            print(f"  teacher: trained {recipe.teacher.trained}{who}{sees}")
        for term in recipe.distill:
            options = "".join(f", {key} {value}" for key, value in term.options.items())
            print(f"  term: {term.loss} at {term.at}, weight {term.weight:g}{options}")


@app.command("budgets")
def budgets() -> None:
    """List the budgets: how much training each is, and what it is for."""
    from crossmodal.data import BUDGETS
    from crossmodal.experiment.budget import load_budget

    for path in sorted(BUDGETS.glob("*.yaml")):
        budget = load_budget(path.stem)
        print(f"{path.stem}\n  {budget.title}\n  {budget.epochs} epochs of {budget.steps_per_epoch} steps")


@app.command("schemas")
def schemas(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    docs: Annotated[
        Path | None, typer.Option(help="Markdown page whose tables of recipe fields and losses are written as well.")
    ] = None,
) -> None:
    """Write the JSON schemas of config, budget and recipe, which editors read, and the list of losses."""
    from crossmodal.distill.schemas import write_schemas, write_tables

    write_schemas(out)
    if docs:
        write_tables(docs)
