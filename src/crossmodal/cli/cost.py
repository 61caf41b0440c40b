"""`crossmodal cost`: what an experiment costs before it is submitted."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app


@app.command("cost")
def cost(
    configfile: Annotated[list[Path] | None, typer.Option(help="As for snakemake; config.yaml by default.")] = None,
    config: Annotated[list[str] | None, typer.Option(help="As for snakemake, once for each key=value.")] = None,
    gpus: Annotated[list[int] | None, typer.Option(min=1, help="Wall time on so many; 1, 4 and 16 by default.")] = None,
    measured: Annotated[list[Path] | None, typer.Option(help="results/NAME of a run whose times are used.")] = None,
    bench: Annotated[
        Path | None, typer.Option(help="What bench/run.py wrote; the library's own measurements by default.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Part of a device's name, e.g. H100: only its times.")] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Cases, when they cannot be counted yet.")] = None,
) -> None:
    """Trainings, GPU hours, wall time and disk of an experiment, before it is submitted."""
    from crossmodal.cost.estimate import count_cases, read_config
    from crossmodal.cost.page import cost_page
    from crossmodal.cost.step_times import from_bench, from_run
    from crossmodal.data import STEP_TIMES

    experiment = read_config(configfile or [], config or [])
    times = [time for folder in measured or [] for time in from_run(folder, experiment)]
    times = times or from_bench(bench or STEP_TIMES, experiment)
    number = cases or count_cases(experiment, Path("results"))
    print(cost_page(experiment, times, gpus or [1, 4, 16], number, device))
