"""Put a trained network where the library finds it, and its figures into its card and docs/real-patients.md.

    python bench/ship_network.py MODEL PATIENTS.csv PRIOR.csv [--demo DEMO.csv]

MODEL is the model folder that `snakemake --configfile workflow/released.yaml` trains. PATIENTS.csv is what
`real_patients.py` wrote of it, PRIOR.csv what `volume_prior.py` wrote; DEMO.csv is as PATIENTS.csv, of the demo's
`choi2023`. Run it again after another training; the card's text is written by hand.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import typer
from measure import REPOSITORY, markdown_table

from crossmodal.data import DATA
from crossmodal.domain import REGIONS, all_subsets
from crossmodal.files import replace_between
from crossmodal.nnunet.export import read_checkpoint, read_manifest
from crossmodal.wording import modalities_label

NETWORK = DATA / "network"
LARGEST_MB = 10
PAGES = (NETWORK / "README.md", REPOSITORY / "docs" / "real-patients.md")


def copy_model(model: Path) -> None:
    """Copy plans, dataset.json, checkpoint and manifest. Raises SystemExit when the checkpoint is too large."""
    read_checkpoint(model, 0)
    size = (model / "fold_0" / "checkpoint_final.pth").stat().st_size
    if size > 1e6 * LARGEST_MB:
        raise SystemExit(f"{model}: its checkpoint has {size / 1e6:.1f} MB; at most {LARGEST_MB} are shipped")
    (NETWORK / "fold_0").mkdir(parents=True, exist_ok=True)
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_0/manifest.json"):
        shutil.copyfile(model / name, NETWORK / name)


def facts(model: Path) -> str:
    """What it is, as a table."""
    manifest = read_manifest(NETWORK / "fold_0" / "manifest.json")
    checkpoint = NETWORK / "fold_0" / "checkpoint_final.pth"
    cost, budget = json.loads((model / "fold_0" / "cost.json").read_text()), manifest["budget"]
    losses = pd.read_csv(model / "fold_0" / "progress.csv")["loss"].head(3)
    tensors = read_checkpoint(NETWORK, 0)["network_weights"].values()  # some stand under two names
    weights = sum({tensor.data_ptr(): tensor.numel() for tensor in tensors}.values())
    rows = [
        ("weights", f"{weights:,}; `{manifest['weights_sha256']}` (hash of names, shapes and values)"),
        ("file", f"{checkpoint.stat().st_size / 1e6:.1f} MB, SHA-256 `{_sha256(checkpoint)}`"),
        ("recipe", f"`{manifest['method']}`, seed {manifest['seed']}"),
        ("training", f"{budget['epochs']} epochs of {budget['steps_per_epoch']} steps, batch {budget['batch_size']}"),
        ("took", f"{cost['train_s'] / 60:.0f} minutes on one core of a processor that computes with bfloat16"),
        ("mean loss of the first three epochs", ", ".join(f"{loss:.4f}" for loss in losses)),
        ("data", f"`{manifest['dataset_sha256']}` (hash of the preprocessed phantoms)"),
    ]
    return markdown_table(["", ""], rows)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def table(patients: pd.DataFrame, prior: pd.DataFrame, demo: pd.DataFrame | None) -> str:
    """Mean Dice over the patients for each subset, with each patient's, and what other ways reach."""
    rows = [
        [modalities_label(subset), *_cells(patients[patients["subset"] == subset])]
        for subset in sorted(all_subsets(), key=lambda name: (name.count("+"), name))
    ]
    if demo is not None:
        for subset, of_demo in demo.groupby("subset"):
            rows.append([f"the demo's `choi2023`, {modalities_label(subset)}", *_cells(of_demo)])
    for guess, of_guess in prior.groupby("guess", sort=False):
        rows.append([f"without the images: {guess}", *_cells(of_guess)])
    return markdown_table(["given", *REGIONS], rows)


def _cells(rows: pd.DataFrame) -> list[str]:
    cells = []
    for region in REGIONS:
        dice = rows.loc[rows["region"] == region, "dice"]
        cells.append(f"{dice.mean():.2f} ({', '.join(f'{value:.2f}' for value in dice)})")
    return cells


def main(model: Path, patients: Path, prior: Path, demo: Path | None = None) -> None:
    """Copy MODEL into the library, and write the facts and the table of PATIENTS, PRIOR and --demo."""
    copy_model(model)
    dice = table(pd.read_csv(patients), pd.read_csv(prior), pd.read_csv(demo) if demo else None)
    replace_between(PAGES[0], "facts", facts(model))
    for page in PAGES:
        replace_between(page, "patients", dice)
    print(dice)


if __name__ == "__main__":
    typer.run(main)
