"""per_case tables with known effects, for the tests of statistics and tables."""

import numpy as np
import pandas as pd

ALL = "t1+t1ce+t2+flair"


def rows(dice, cohort="site", method="student", modalities="t1", fold=0, seed=0, region="WT", visits=1, split="test"):
    """One row a case: `dice` has one value a case, and `visits` cases in succession are one patient's."""
    return pd.DataFrame(
        {
            "cohort": cohort,
            "case": [f"case{number:03d}" for number in range(len(dice))],
            "method": method,
            "modalities": modalities,
            "fold": str(fold),
            "seed": str(seed),
            "region": region,
            "dice": dice,
            "dice_present": dice,
            "hd95_mm": 10 - 10 * np.asarray(dice, float),
            "nsd_1mm": dice,
            "lesion_dice": dice,
            "lesion_hd95_mm": 5.0,
            "volume_ref_ml": 20.0,
            "volume_pred_ml": 18.0,
            "dice_et_postprocessed": dice if region == "ET" else np.nan,
            "hd95_et_postprocessed_mm": 4.0 if region == "ET" else np.nan,
            "patient": [f"patient{number // visits:03d}" for number in range(len(dice))],
            "split": split,
        }
    )


def stack(*tables):
    return pd.concat(tables, ignore_index=True)
