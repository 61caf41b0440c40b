"""The printed tables: what of summary.csv and comparisons.csv goes into which row, and the notes below."""

from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.domain import MODALITIES, REGIONS, all_subsets
from crossmodal.errors import UserError
from crossmodal.evaluate import render
from crossmodal.evaluate.comparisons import STUDENT, TEACHER, compare
from crossmodal.evaluate.per_case import held_out, read_per_case, write_table
from crossmodal.evaluate.score import SMALLEST_ET_MM3
from crossmodal.evaluate.statistics import RESAMPLES
from crossmodal.evaluate.summary import summarise
from crossmodal.files import write_text

INTERVAL = f"95% intervals: BCa bootstrap over patients, {RESAMPLES:,} resamples"
HAS_EMPTY = "Dice is 1 where reference and prediction are both empty and 0 where one is"


def write_tables(directory: Path, out: Path | None = None, resamples: int = RESAMPLES) -> list[str]:
    """Write summary.csv and comparisons.csv, both in Markdown and LaTeX too, the 15 subsets, and notes.md.

    Args:
        directory: a folder with per_case.csv, or an experiment with tables/per_case.csv; notes.csv is read
            from beside it if it is there.
        out: where to write; beside per_case.csv by default.
        resamples: of each bootstrap.

    Returns:
        The notes, as in notes.md.

    Raises:
        UserError: there is no per_case.csv, or it is damaged.
    """
    places = [directory / "tables" / "per_case.csv", directory / "per_case.csv"]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise UserError(
            f"{directory}: has neither tables/per_case.csv nor per_case.csv; run `crossmodal collect` first"
        )
    out = out or source.parent
    per_case, notes = held_out(read_per_case(source))
    summary, comparisons = summarise(per_case, resamples), compare(per_case, resamples)
    for name, table in (("summary", summary), ("comparisons", comparisons)):
        write_table(table, out / f"{name}.csv", digits=6)
    pages = {
        "summary": [page for cohort in _cohorts(summary) for page in summary_pages(summary, cohort)],
        "comparisons": [comparison_page(comparisons, summary, cohort) for cohort in _cohorts(comparisons)],
        "subsets": [page for cohort in _cohorts(summary) for page in subset_pages(summary, cohort)],
    }
    for name, tables in pages.items():
        for ending, text in ((".md", render.markdown), (".tex", render.latex)):
            path = out / f"{name}{ending}"
            if tables:
                write_text(path, text(tables))
            else:
                path.unlink(missing_ok=True)  # of an earlier run that had more to say
    notes = _collected_notes(source.with_name("notes.csv")) + notes + _row_notes(summary, comparisons)
    write_text(out / "notes.md", "".join(f"- {note}\n" for note in notes) or "No notes.\n")
    return notes


def summary_pages(summary: pd.DataFrame, cohort: str) -> list[render.Table]:
    """Two tables of a cohort: Dice with intervals, and the other metrics."""
    rows = summary[summary["cohort"] == cohort]
    dice, others = [], []
    for (method, modalities), group in rows.groupby(["method", "modalities"], sort=False):
        by_region = group.set_index("region").reindex(REGIONS)
        head = [method, modalities, str(group["n"].max())]
        dice.append(
            head + [_with_interval(row.dice_mean, row.dice_ci_low, row.dice_ci_high) for row in _each(by_region)]
        )
        others.append(
            head[:2]
            + [_percent(row.dice_present_mean) for row in _each(by_region)]
            + [f"{_number(row.hd95_mean_mm)} ({_number(row.hd95_median_mm)})" for row in _each(by_region)]
            + [_percent(row.lesion_dice_mean) for row in _each(by_region)]
            + [_number(row.lesion_hd95_mean_mm) for row in _each(by_region)]
            + [_percent(by_region.loc["ET", "dice_et_postprocessed_mean"])]
            + ["/".join(_count(count) for count in by_region["n_pred_empty"])]
        )
    notes = [_empties(rows), *_notes_of(rows)]
    header = ["Method", "Modalities"]
    metrics = [
        f"{region} {name}" for name in ("Dice present", "HD95", "lesion Dice", "lesion HD95") for region in REGIONS
    ]
    return [
        render.Table(
            f"{cohort}: Dice",
            f"Dice in %, mean over n patients (visits, folds and seeds averaged first). {INTERVAL}.",
            [*header, "n", *REGIONS],
            dice,
            notes,
        ),
        render.Table(
            f"{cohort}: other metrics",
            "Dice present: patients with the region in the reference only. HD95 in mm: mean (median). Lesion "
            f"Dice and HD95 as in BraTS 2023. ET pp: ET predictions below {SMALLEST_ET_MM3:g} mm³ emptied. "
            f"Empty: patients with an empty prediction in every run, for {'/'.join(REGIONS)}.",
            [*header, *metrics, "ET pp Dice", "Empty"],
            others,
            notes[:1],
        ),
    ]


def comparison_page(comparisons: pd.DataFrame, summary: pd.DataFrame, cohort: str) -> render.Table:
    """All comparisons of a cohort."""
    rows = comparisons[comparisons["cohort"] == cohort]
    sizes = rows.groupby("region", sort=False)["family_size"].first()
    families = ", ".join(f"{region} {size}" for region, size in sizes.items())
    cells = [
        [
            *(row.modalities, row.region, row.method, row.baseline, str(row.n)),
            _with_interval(row.dice_gain, row.ci_low, row.ci_high, sign="+"),
            *(_p(row.p_wilcoxon), _p(row.p_holm)),
            _with_interval(row.gap_recovered, row.gap_ci_low, row.gap_ci_high, digits=0),
        ]
        for row in _each(rows)
    ]
    return render.Table(
        f"{cohort}: comparisons",
        f"Gain in Dice (percentage points), paired by patient. {INTERVAL}. p: two-sided Wilcoxon "
        f"signed-rank, and Holm-adjusted over all comparisons of the cohort and region "
        f"(family size: {families}). "
        f"Gap recovered in %: (method − {STUDENT}) / ({TEACHER} − {STUDENT}).",
        ["Modalities", "Region", "Method", "Against", "n", "Gain", "p", "p Holm", "Gap recovered"],
        cells,
        [_empties(summary[summary["cohort"] == cohort]), *_notes_of(rows)],
        text_columns=4,
    )


def subset_pages(summary: pd.DataFrame, cohort: str) -> list[render.Table]:
    """The field's table of the 15 subsets, one for each region; none unless a method has all 15."""
    rows = summary[summary["cohort"] == cohort]
    subsets = all_subsets()
    counts = rows[rows["method"] != TEACHER].groupby("method", sort=False)["modalities"].nunique()
    methods = list(counts.index[counts == len(subsets)])
    if not methods:
        return []
    pages = []
    for region in [region for region in REGIONS if region in set(rows["region"])]:
        of_region = rows[rows["region"] == region]
        means = of_region.pivot(index="modalities", columns="method", values="dice_mean").reindex(subsets)
        cells = [
            ["●" if name in subset.split("+") else "○" for name in MODALITIES]
            + [_percent(means.loc[subset, method]) for method in methods]
            for subset in subsets
        ]
        cells.append(["Mean", "", "", "", *(_percent(means[method].mean()) for method in methods)])
        notes = [_empties(of_region)]
        if TEACHER in means:
            notes.append(f"{TEACHER} with all four: {_percent(means[TEACHER].dropna().mean())}")
        pages.append(
            render.Table(
                f"{cohort}: {region} over the 15 subsets",
                "Mean Dice in %; ● a modality that is given, ○ one that is missing.",
                [*MODALITIES, *methods],
                cells,
                notes,
                text_columns=len(MODALITIES),
            )
        )
    return pages


def _cohorts(table: pd.DataFrame) -> list[str]:
    return list(table["cohort"].unique())


def _each(table: pd.DataFrame):
    return table.itertuples()


def _empties(rows: pd.DataFrame) -> str:
    """The count that belongs under every table: patients whose reference has none of a region."""
    worst = rows.groupby("region", sort=False)[["n_ref_empty", "n"]].max()
    counts = ", ".join(f"{region} {row.n_ref_empty} of {row.n}" for region, row in worst.iterrows())
    return f"Patients without the region in the reference: {counts}. {HAS_EMPTY}."


def _notes_of(rows: pd.DataFrame) -> list[str]:
    """Each note of the rows once, with the rows it holds for."""
    notes: dict[str, list[str]] = {}
    for row in _each(rows[rows["note"] != ""]):
        for note in row.note.split("; "):
            notes.setdefault(note, []).append(f"{row.method} {row.modalities} {row.region}")
    shown = []
    for note, where in notes.items():
        place = "all rows" if len(where) == len(rows) else ", ".join(where[:4]) + (", …" if len(where) > 4 else "")
        shown.append(f"{note} ({place})")
    return shown


def _row_notes(summary: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    return [
        f"{cohort}, {name}: {note}"
        for name, table in (("summary", summary), ("comparisons", comparisons))
        for cohort in _cohorts(table)
        for note in _notes_of(table[table["cohort"] == cohort])
    ]


def _collected_notes(path: Path) -> list[str]:
    """What `crossmodal collect` noted, if it was run here."""
    if not path.is_file():
        return []
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return [
            f"{row.cohort} {row.method} {row.modalities} seed {row.seed} fold {row.fold}: {row.note}"
            for row in _each(table)
        ]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); `crossmodal collect` writes it") from error


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.2f}"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def _count(value: float) -> str:
    return "–" if np.isnan(value) else f"{int(value)}"


def _p(value: float) -> str:
    return "–" if np.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _with_interval(value: float, low: float, high: float, sign: str = "", digits: int = 2) -> str:
    """Value and interval of a share, in percent."""
    if np.isnan(value):
        return "–"
    value, low, high = (f"{100 * number:{sign}.{digits}f}".replace("-", "−") for number in (value, low, high))
    return value if low.endswith("nan") else f"{value} [{low}, {high}]"
