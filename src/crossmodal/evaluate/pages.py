"""The printed tables: what of summary.csv and comparisons.csv goes into which row, and the notes below."""

from pathlib import Path

import pandas as pd

from crossmodal.domain import ALL, MODALITIES, REGIONS, all_subsets
from crossmodal.errors import UserError
from crossmodal.evaluate import render
from crossmodal.evaluate.comparisons import MARGIN, compare, finding_words
from crossmodal.evaluate.per_case import config_of, held_out, per_case_file, read_per_case, write_table
from crossmodal.evaluate.score import SMALLEST_ET_MM3
from crossmodal.evaluate.statistics import RESAMPLES
from crossmodal.evaluate.summary import dice_with_interval, summarise
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.experiment.runs import STUDENT, TEACHER, Roles
from crossmodal.files import write_text
from crossmodal.wording import estimate, interval, number, p_value, percent_estimate

OVER_PATIENTS = f"BCa bootstrap over patients, {RESAMPLES:,} resamples"
OVER_BOTH = "95% intervals are over patients and trainings (docs/evaluation.md)"
OTHER_METRICS = {
    "Dice present": lambda row: number(row.dice_present_mean),
    "HD95": lambda row: f"{number(row.hd95_mean_mm, 1)} ({number(row.hd95_median_mm, 1)})",
    "NSD 1 mm": lambda row: number(row.nsd_1mm_mean),
    "lesion Dice": lambda row: number(row.lesion_dice_mean),
    "lesion HD95": lambda row: number(row.lesion_hd95_mean_mm, 1),
}


def write_tables(directory: Path, out: Path | None = None, resamples: int = RESAMPLES) -> list[str]:
    """Write summary.csv and comparisons.csv, both in Markdown and LaTeX too, the 15 subsets, and notes.md.

    Args:
        directory: an experiment with tables/per_case.csv, or a folder with per_case.csv. notes.csv beside it and the
            experiment's config.yaml, for the roles of its methods, are read if they are there.
        out: where to write; beside per_case.csv by default.
        resamples: of each bootstrap.

    Returns:
        The notes, as in notes.md.

    Raises:
        UserError: there is no per_case.csv, or it or the config is damaged.
    """
    source = per_case_file(directory)
    out = out or source.parent
    per_case, notes = held_out(read_per_case(source))
    resolved = config_of(source)
    roles = Roles(per_case["method"].unique(), resolved.recipes if resolved else None)
    summary = summarise(per_case, resamples)
    comparisons = compare(per_case, resamples, roles, resolved.margin if resolved else MARGIN)
    for name, table in (("summary", summary), ("comparisons", comparisons)):
        write_table(table, out / f"{name}.csv", digits=6)
    pages: dict[str, list[render.Table]] = {"summary": [], "comparisons": [], "subsets": []}
    for cohort, rows in summary.groupby("cohort", sort=False):
        pages["summary"] += summary_pages(cohort, rows)
        pages["subsets"] += subset_pages(cohort, rows, roles)
        compared = comparisons[comparisons["cohort"] == cohort]
        if not compared.empty:
            pages["comparisons"].append(comparison_page(cohort, compared, _empties(rows)))
    for name, tables in pages.items():
        for ending, text in ((".md", render.markdown), (".tex", render.latex)):
            path = out / f"{name}{ending}"
            if tables:
                write_text(path, text(tables))
            else:
                path.unlink(missing_ok=True)  # of an earlier run that had more to say
    notes = _collected_notes(source.with_name("notes.csv")) + notes
    for name, table in (("summary", summary), ("comparisons", comparisons)):
        for cohort, rows in table.groupby("cohort", sort=False):
            notes += [f"{cohort}, {name}: {note}" for note in _notes_of(rows)]
    write_text(out / "notes.md", "".join(f"- {note}\n" for note in notes) or "No notes.\n")
    return notes


def summary_pages(cohort: str, rows: pd.DataFrame) -> list[render.Table]:
    """Two tables of a cohort's rows of summary.csv: Dice with intervals, and the other metrics."""
    dice, others = [], []
    for (method, modalities), group in rows.groupby(["method", "modalities"], sort=False):
        regions = list(group.set_index("region").reindex(REGIONS).itertuples())
        dice.append([method, modalities, str(group["n"].max())] + [dice_with_interval(row) for row in regions])
        metrics = [cell(row) for cell in OTHER_METRICS.values() for row in regions]
        postprocessed = number(regions[REGIONS.index("ET")].dice_et_postprocessed_mean)
        empty = "/".join(number(row.n_pred_empty, 0) for row in regions)
        others.append([method, modalities, *metrics, postprocessed, empty])
    notes = [_empties(rows), *_notes_of(rows)]
    header = ["Method", "Modalities"]
    return [
        render.Table(
            f"{cohort}: Dice",
            f"Mean Dice over n patients (visits, folds and seeds averaged first). {OVER_BOTH}; *: over patients alone, "
            f"since there are fewer than {FEWEST} trainings ({OVER_PATIENTS}).",
            [*header, "n", *REGIONS],
            dice,
            notes,
        ),
        render.Table(
            f"{cohort}: other metrics",
            "Dice present: patients with the region in the reference only. HD95 in mm: mean (median). NSD: share of "
            "both surfaces within 1 mm of the other. Lesion Dice and HD95 as in BraTS 2023. ET pp: ET predictions "
            f"below {SMALLEST_ET_MM3:g} mm³ emptied. Empty: patients with an empty prediction in every run, for "
            f"{'/'.join(REGIONS)}.",
            [*header, *(f"{region} {name}" for name in OTHER_METRICS for region in REGIONS), "ET pp Dice", "Empty"],
            others,
            notes[:1],
        ),
    ]


def comparison_page(cohort: str, rows: pd.DataFrame, empties: str) -> render.Table:
    """A cohort's rows of comparisons.csv; `empties`: the note on empty regions."""
    sizes = rows.groupby("region", sort=False)["family_size"].first()
    families = ", ".join(f"{region} {size}" for region, size in sizes.items())
    margin = rows["margin"].iloc[0]
    cells = [
        [
            *(row.modalities, row.region, row.method, row.baseline),
            *(str(row.n), f"{row.n_trainings} / {row.n_trainings_baseline}"),
            estimate(row.dice_gain, row.trainings_ci_low, row.trainings_ci_high, sign=True),
            *(p_value(row.p_trainings_holm), finding_words(row)),
            f"{number(row.sd_trainings)} / {number(row.sd_trainings_baseline)}",
            *(interval(row.ci_low, row.ci_high, sign=True), p_value(row.p_holm)),
            percent_estimate(row.gap_recovered, row.gap_ci_low, row.gap_ci_high),
        ]
        for row in rows.itertuples()
    ]
    return render.Table(
        f"{cohort}: comparisons",
        f"Gain in Dice over the same n patients. {OVER_BOTH}; with fewer than {FEWEST} trainings of each there is "
        "none, and nothing is claimed. Trainings, SD between trainings: of the method / of what it is compared with. "
        f"p: Holm-adjusted over all comparisons of the cohort and region (family size: {families}). Within "
        f"±{margin:g}: equivalent for this margin (two one-sided tests). These networks alone: what patients alone say "
        f"of the networks that were trained, not of the method ({OVER_PATIENTS}; Wilcoxon signed-rank test, Holm). "
        f"Gap recovered: (method − {STUDENT}) / ({TEACHER} − {STUDENT}), interval over patients alone.",
        [
            *("Modalities", "Region", "Method", "Against", "n", "Trainings", "Gain", "p", "Finding"),
            *("SD between trainings", "These networks alone", "their p", "Gap recovered"),
        ],
        cells,
        [empties, *_notes_of(rows)],
        text_columns=4,
    )


def subset_pages(cohort: str, rows: pd.DataFrame, roles: Roles) -> list[render.Table]:
    """The field's table of the 15 subsets, one for each region; none unless a method has all 15."""
    subsets = all_subsets()
    counts = rows.groupby("method", sort=False)["modalities"].nunique()
    methods = list(counts.index[counts == len(subsets)])
    if not methods:
        return []
    pages = []
    for region in [region for region in REGIONS if region in set(rows["region"])]:
        of_region = rows[rows["region"] == region]
        means = of_region.pivot(index="modalities", columns="method", values="dice_mean").reindex(subsets)
        cells = [
            ["●" if name in subset.split("+") else "○" for name in MODALITIES]
            + [number(means.loc[subset, method]) for method in methods]
            for subset in subsets
        ]
        cells.append(["Mean", "", "", "", *(number(means[method].mean()) for method in methods)])
        bounds = [method for method in roles.methods if method in means and roles.always_sees_all(method)]
        notes = [_empties(of_region), *(f"{one} with all four: {number(means.loc[ALL, one])}" for one in bounds)]
        pages.append(
            render.Table(
                f"{cohort}: {region} over the 15 subsets",
                "Mean Dice; ● a modality that is given, ○ one that is missing.",
                [*MODALITIES, *methods],
                cells,
                notes,
                text_columns=len(MODALITIES),
            )
        )
    return pages


def _empties(rows: pd.DataFrame) -> str:
    """The note under every table: how many patients have a reference without a region."""
    worst = rows.groupby("region", sort=False)[["n_ref_empty", "n"]].max()
    counts = ", ".join(f"{region} {row.n_ref_empty} of {row.n}" for region, row in worst.iterrows())
    rule = "Dice is 1 where reference and prediction are both empty and 0 where one is."
    return f"Patients without the region in the reference: {counts}. {rule}"


def _notes_of(rows: pd.DataFrame) -> list[str]:
    """Each note of the rows once, with the rows that have it."""
    notes: dict[str, list[str]] = {}
    for row in rows[rows["note"] != ""].itertuples():
        for note in row.note.split("; "):
            notes.setdefault(note, []).append(f"{row.method} {row.modalities} {row.region}")
    shown = []
    for note, where in notes.items():
        place = "all rows" if len(where) == len(rows) else ", ".join(where[:4]) + (", …" if len(where) > 4 else "")
        shown.append(f"{note} ({place})")
    return shown


def _collected_notes(path: Path) -> list[str]:
    """What `crossmodal collect` noted, if it was run here."""
    if not path.is_file():
        return []
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return [
            f"{row.cohort} {row.method} {row.modalities} seed {row.seed} fold {row.fold}: {row.note}"
            for row in table.itertuples()
        ]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); `crossmodal collect` writes it") from error
