"""The README's picture and table, from the tables that are kept in git."""

import os
import re
import tempfile
from pathlib import Path

import pandas as pd

from crossmodal.errors import UserError
from crossmodal.evaluate.results import Experiment
from crossmodal.wording import REGIONS, method_label, modalities_label, plural, signed
from crossmodal.report.answer import folds, network, training

START, END = "<!-- results:start -->", "<!-- results:end -->"
FIGURE = "dice_by_method"


def write_readme(folder: str | Path, readme: str | Path, picture: str | Path) -> None:
    """Draw the picture and rewrite what stands between the two markers of the README.

    Args:
        folder: results/<experiment>, with config.yaml and tables/.
        readme: a Markdown file with the lines `<!-- results:start -->` and `<!-- results:end -->`.
        picture: the PNG to write; the README refers to it relative to its own folder.

    Raises:
        UserError: the README or one of its markers is missing, or the figure cannot be drawn.
    """
    from crossmodal.figures import draw_one
    from crossmodal.files import atomic_path, write_text

    readme, picture = Path(readme), Path(picture)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    between = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    if not between.search(text):
        raise UserError(f"{readme}: lacks the lines {START} and {END}; put them where the results belong")
    experiment = Experiment(folder)
    with tempfile.TemporaryDirectory() as scratch:
        entry = draw_one(experiment, FIGURE, Path(scratch) / FIGURE)
        if entry["note"]:
            raise UserError(f"{folder}: its figure {FIGURE} cannot be drawn: {entry['note']}")
        with atomic_path(picture) as temporary:
            temporary.write_bytes((Path(scratch) / f"{FIGURE}.png").read_bytes())
    relative = Path(os.path.relpath(picture, readme.parent)).as_posix()
    body = block(experiment, f"![{entry['alt']}]({relative})")
    write_text(readme, between.sub(lambda _: f"{START}\n{body}\n{END}", text, count=1))


def block(experiment: Experiment, image: str) -> str:
    """Picture, what made the numbers, and the table, in Markdown."""
    config = experiment.config
    seeds = config.get("seeds") or []
    made_by = (
        f"`{experiment.name}`: {plural(experiment.count(), f'held-out {experiment.unit}')} of {experiment.cohort}, "
        f"budget `{config.get('budget')}` ({training(config.get('budget_settings') or {})}), {network(config)}; "
        f"{plural(len(seeds), 'seed')}, {folds(config)}. Mean Dice with 95% interval; gain: paired difference to the "
        "student alone."
    )
    phantom = "**Phantom run: simulated images, no patients.** " if experiment.is_phantom else ""
    heads = ["Method", "Given", *REGIONS, *(f"Gain {region}" for region in REGIONS)]
    lines = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 2), *rows(experiment)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n{image}\n\n{phantom}{made_by}\n\n{table}\n"


def rows(experiment: Experiment) -> list[list[str]]:
    """A row for each method and subset shown: mean Dice with its interval, then the gains."""
    summary = experiment.table("summary")
    summary = summary[summary.cohort == experiment.cohort]
    comparisons = experiment.optional_table("comparisons")
    if not comparisons.empty:
        comparisons = comparisons[(comparisons.cohort == experiment.cohort) & (comparisons.baseline == "student")]
    found = []
    for subset in experiment.shown_subsets:
        for method in experiment.methods_at(subset):
            own = experiment.at(summary, method, subset).set_index("region")
            if method == "teacher" and subset != experiment.shown_subsets[-1]:
                continue  # one network for all subsets: one row
            dice = [with_interval(own.loc[r]) if r in own.index else "" for r in REGIONS]
            gains = [gain_of(comparisons, method, subset, region) for region in REGIONS]
            found.append([method_label(method), modalities_label(own.modalities.iloc[0]), *dice, *gains])
    return found


def with_interval(row: pd.Series) -> str:
    """0.853 (0.812–0.889), without an interval where there is none."""
    if pd.isna(row.dice_ci_low):
        return f"{row.dice_mean:.3f}"
    return f"{row.dice_mean:.3f} ({row.dice_ci_low:.3f}–{row.dice_ci_high:.3f})"


def gain_of(comparisons: pd.DataFrame, method: str, subset: str, region: str) -> str:
    """The gain over the student alone, empty where there is none to speak of."""
    if comparisons.empty:
        return ""
    own = comparisons[(comparisons.method == method) & (comparisons.modalities == subset)]
    own = own[own.region == region].dice_gain.dropna()
    return signed(own.iloc[0]) if len(own) else ""
