"""The README's picture and table, from the tables that are kept in git."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from crossmodal.domain import REGIONS
from crossmodal.errors import UserError
from crossmodal.evaluate.comparisons import TOO_FEW
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.evaluate.summary import dice_with_interval
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.figures import draw_one
from crossmodal.files import atomic_path, replace_between
from crossmodal.report.facts import folds, network, seeds, training
from crossmodal.wording import enumerate_words, estimate, method_label, modalities_label, plural

MARKER = "results"
FIGURE = "dice_by_method"


def write_readme(folder: str | Path, readme: str | Path, picture: str | Path, methods: Sequence[str] = ()) -> None:
    """Draw the picture and rewrite what stands between the two markers of the README.

    Args:
        folder: results/<experiment>, with config.yaml and tables/.
        readme: a Markdown file with the lines `<!-- results:start -->` and `<!-- results:end -->`.
        picture: the PNG to write; the README refers to it relative to its own folder.
        methods: those that are shown; all by default.

    Raises:
        UserError: the README or one of its markers is missing, the figure cannot be drawn, or a method has no scores.
    """
    readme, picture, results = Path(readme), Path(picture), Results(folder, only=methods)
    with suppress(MissingDataError):  # without a summary nothing is drawn, which says why
        scored = Results(folder).methods
        if unknown := [method for method in methods if method not in scored]:
            can_be = enumerate_words(scored)
            raise UserError(f"{folder}: has no scores of {unknown[0]}; methods that can be shown are {can_be}")
    with tempfile.TemporaryDirectory() as scratch:
        entry = draw_one(results, Path(scratch), FIGURE)
        if entry["note"]:
            raise UserError(f"{folder}: its figure {FIGURE}: {entry['note']}")
        relative = Path(os.path.relpath(picture, readme.parent)).as_posix()
        replace_between(readme, MARKER, block(results, f"![{entry['alt']}]({relative})"))
        with atomic_path(picture) as temporary:
            temporary.write_bytes((Path(scratch) / f"{FIGURE}.png").read_bytes())


def block(results: Results, image: str) -> str:
    """Picture, what made the numbers, and the table, in Markdown."""
    config = results.config
    made_by = (
        f"`{results.name}`: {plural(results.count(), f'held-out {results.unit}')} of {results.cohort}, "
        f"budget `{config.budget}` ({training(config.budget_settings)}), {network(config)}; "
        f"{seeds(results)}, {folds(config)}. Mean Dice and gain over the student alone, with 95% intervals over "
        f"{results.unit}s and trainings; *: over {results.unit}s alone. {shown(results)}{claim(results)}"
    )
    phantom = "**Phantom run: simulated images, no patients.** " if results.is_phantom else ""
    heads = ["Method", "Given", *REGIONS, *(f"Gain {region}" for region in REGIONS)]
    lines = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 2), *rows(results)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n{image}\n\n{phantom}{made_by.rstrip()}\n\n{table}\n\n"


def shown(results: Results) -> str:
    """How many of the methods are shown, where they are not all."""
    count = results.summary.method.nunique()
    return f"Shown are {len(results.methods)} of {count} methods. " if len(results.methods) < count else ""


def claim(results: Results) -> str:
    """What the gains may be taken for."""
    try:
        few = (results.gains().finding == TOO_FEW).any()
    except MissingDataError:
        few = False
    return f"With fewer than {FEWEST} trainings of each method no gain is claimed." if few else ""


def rows(results: Results) -> list[list[str]]:
    """A row for each method and subset shown: mean Dice with its interval, then the gains over the student alone."""
    summary, subsets, found = results.summary_of(), results.shown_subsets, []
    for subset in subsets:
        for method in results.methods_at(subset):
            once = results.roles.always_sees_all(method)  # one network for all subsets: one row
            if once and subset != subsets[-1]:
                continue
            own = results.at(summary, method, subset).set_index("region")
            dice = [dice_with_interval(row) if row.n > 0 else "" for row in own.reindex(REGIONS).itertuples()]
            gains = [""] * len(REGIONS) if once and len(subsets) > 1 else gains_of(results, method, subset)
            found.append([method_label(method), modalities_label(own.modalities.iloc[0]), *dice, *gains])
    return found


def gains_of(results: Results, method: str, subset: str) -> list[str]:
    """The gain over the student alone in each region with its interval, empty where there is none."""
    try:
        gains = {row.region: row for row in results.gains(method, subset).itertuples()}
    except MissingDataError:
        gains = {}
    return [
        estimate(row.dice_gain, row.trainings_ci_low, row.trainings_ci_high, sign=True) if row else ""
        for row in map(gains.get, REGIONS)
    ]
