"""`crossmodal cohort …`: make, check, split and lock cohorts."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app

cohort = typer.Typer(help="Make, check and split cohorts.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cohort, name="cohort")

LockFile = Annotated[Path, typer.Argument(help="cohorts/<name>.dvc.")]


@cohort.command("phantom")
def write_phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to write the cohort into.")],
    cases: Annotated[int, typer.Option(help="Number of cases.")] = 40,
    spacing: Annotated[float, typer.Option(help="Voxel edge in mm; 1 gives 240×240×155 as in BraTS.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Case k is the same for a seed, however many cases.")] = 2023,
    site: Annotated[
        str, typer.Option(help="A; B: other scanners and another mix of cases; R: all is drawn anew for each case.")
    ] = "A",
    width: Annotated[float, typer.Option(help="How wide site R draws: 1 is its ranges, 0.5 half of them.")] = 1.0,
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when not given.")] = None,
) -> None:
    """Write glioma phantoms laid out as BraTS 2020 is."""
    from crossmodal.phantom import Randomisation, write_cohort

    randomisation = None if width == 1 else Randomisation.of_width(width)
    write_cohort(out, cases, spacing, seed, site, workers, randomisation)


@cohort.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="A release's folder, or a table of your own (CSV).")],
    out: Annotated[Path, typer.Option(help="Folder for cases.csv and problems.csv.")],
    release: Annotated[str, typer.Option(help="What it is, when the names do not tell.")] = "auto",
    name: Annotated[str | None, typer.Option(help="The cohort's name; the release's when not given.")] = None,
    on_problem: Annotated[str, typer.Option(help="stop, or skip: leave bad cases out.")] = "stop",
    folds: Annotated[int, typer.Option(help="Folds of the training cases, by patient; 0 for none.")] = 5,
    test_fraction: Annotated[float, typer.Option(help="Share of patients held out; 0 for none.")] = 0.2,
    split_seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    split_file: Annotated[
        str | None, typer.Option(help="Your own split: CSV (case,split[,fold]), or a folder of train.txt, test.txt.")
    ] = None,
    external: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH[:RELEASE] of a cohort that is only tested on.")
    ] = None,
    name_mapping: Annotated[
        list[Path] | None, typer.Option(help="CSV with a patient's names in several releases in one row.")
    ] = None,
    predict_unlabelled: Annotated[bool, typer.Option(help="Keep cases without a segmentation.")] = False,
    headers_only: Annotated[bool, typer.Option(help="A quick look: no voxels read, no cases.csv.")] = False,
    workers: Annotated[int | None, typer.Option(help="Threads; all cores when not given.")] = None,
) -> None:
    """Recognise a BraTS release or your own table, check every case, and split it by patient."""
    from crossmodal.cohort.check import Options, check_cohort

    options = Options(
        release,
        name,
        on_problem,
        folds,
        test_fraction,
        split_seed,
        split_file,
        tuple(external or ()),
        tuple(name_mapping or ()),
        predict_unlabelled,
        headers_only,
        workers,
    )
    check_cohort(path, out, options)


@cohort.command("lock")
def lock(
    lock: LockFile,
    data: Annotated[
        Path | None, typer.Option(help="Pin this folder where it lies; without it the lock is `dvc add`'s.")
    ] = None,
) -> None:
    """Pin a cohort's files by hash, or write the list of files beside a lock that `dvc add` made."""
    from crossmodal.cohort import lock as locks

    if data is not None:
        pinned = locks.write_lock(lock, data)
    else:
        pinned = locks.read_lock(lock)
        locks.add_list(pinned)
    print(f"{pinned.file}: {pinned.files} files, {pinned.size / 1e9:.2f} GB, md5 {pinned.md5}")
    print(f"Commit both: git add {pinned.file} {pinned.list_file}")


@cohort.command("verify-lock")
def verify_lock(path: Annotated[Path, typer.Argument(help="The cohort's folder.")], lock: LockFile) -> None:
    """Read every file of a cohort; exit 1 with the cases that are not as locked."""
    from crossmodal.cohort import lock as locks

    pinned = locks.read_lock(lock)
    locks.require_match(path, pinned)
    print(f"{path}: {pinned.files} files, all as {lock} pins them")


@cohort.command("pin")
def pin(lock: Annotated[Path, typer.Argument(help="The .dvc file of a generated cohort: data.dvc.")]) -> None:
    """Take a cohort that was generated again into DVC's cache, if every byte is as the lock says."""
    from crossmodal.cohort import lock as locks
    from crossmodal.publishing import dvc

    pinned = locks.read_lock(lock)
    remedy = (
        "Delete that folder and generate it again with the versions of envs/requirements.lock. If the generator was "
        f"changed on purpose: `dvc commit --force {lock} && crossmodal cohort lock {lock}`, and commit what they write."
    )
    locks.require_match(pinned.folder, pinned, remedy=remedy)
    dvc.run(dvc.repository(lock), "commit", lock.resolve())
    print(f"{pinned.folder}: {pinned.files} files, all as {lock} pins them")
