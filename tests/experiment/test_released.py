"""The config of the shipped network: randomised phantoms alone, one network, every subset."""

import yaml

from crossmodal.domain import all_subsets
from crossmodal.experiment import runs
from crossmodal.experiment.config import resolve
from tests.conftest import REPOSITORY


def test_one_network_of_every_subset_is_trained_on_site_r_alone() -> None:
    config = resolve(yaml.safe_load((REPOSITORY / "workflow" / "released.yaml").read_text()))
    assert config.is_phantom and config.phantom.site == "R" and not config.external
    assert len(runs.trainings(config)) == 1
    assert {prediction.modalities for prediction in runs.predictions(config)} == set(all_subsets())
