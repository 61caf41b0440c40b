"""Where a training finds the weights that it starts from: `init_from` of a recipe. No torch here."""

import hashlib
import json
from pathlib import Path

from crossmodal.data import DATA
from crossmodal.errors import UserError

SHIPPED = "shipped"
NETWORK = DATA / "network"


def model_and_fold(init_from: str, fold: int) -> tuple[Path, int]:
    """The model folder that `init_from` names, and which of its networks a training of this fold starts from.

    It is the network of the same fold, which has not seen the fold's validation cases where both were trained on one
    split, or else the only one that is there.

    Args:
        init_from: a model folder, or "shipped" for the network that comes with the library.
        fold: of the training that starts from it.

    Raises:
        UserError: there is no such model folder, or it leaves open which fold is meant.
    """
    model = NETWORK if init_from == SHIPPED else Path(init_from)
    folds = sorted(
        int(path.parent.name.removeprefix("fold_")) for path in model.glob("fold_[0-9]*/checkpoint_final.pth")
    )
    if not folds and init_from == SHIPPED:
        raise UserError(
            f"init_from: {SHIPPED}: no network comes with this version of the library ({model} holds none): name the "
            f"model folder of a network that was trained"
        )
    if not folds:
        raise UserError(
            f"init_from: {model}: there is no trained network in it (fold_<k>/checkpoint_final.pth): name a model "
            f"folder, results/<experiment>/models/<method>/<sequences>/seed<s>; a relative path starts at {Path.cwd()}"
        )
    if fold not in folds and len(folds) > 1:
        raise UserError(
            f"init_from: {model}: has the folds {', '.join(map(str, folds))}, and fold {fold} is trained: train that "
            f"fold there too, or name a folder with one fold alone"
        )
    return model, fold if fold in folds else folds[0]


def hash_of_initial(init_from: str, fold: int) -> str:
    """A hash that changes when the weights do: the one that the manifest records, else that of the checkpoint's bytes.

    Args:
        init_from, fold: as for `model_and_fold`, whose errors this raises.
    """
    model, found = model_and_fold(init_from, fold)
    folder = model / f"fold_{found}"
    manifest = folder / "manifest.json"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["weights_sha256"])
    with (folder / "checkpoint_final.pth").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
