"""State files: damaged ones are passed over with a word, foreign ones refused, whole ones read back as they were."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossmodal.errors import UserError
from crossmodal.files import resumable_directory
from crossmodal.train import state as states

STATE = {"weights": torch.arange(300.0), "epoch": 3, "extra": {"none": None, "names": ["a", "b"]}}


def test_a_state_reads_back_and_the_one_before_is_kept(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        states.save_state(tmp_path, STATE | {"epoch": epoch})
    state, messages = states.load_state(tmp_path)
    assert state["epoch"] == 3 and messages == [] and torch.equal(state["weights"], STATE["weights"])
    (tmp_path / states.NEWEST).unlink()
    assert states.load_state(tmp_path)[0]["epoch"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [states.BEFORE]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_state_damaged_at_any_byte_falls_back_to_the_one_before(tmp_path: Path, position: float, flip: int) -> None:
    for epoch in (1, 2):
        states.save_state(tmp_path, STATE | {"epoch": epoch})
    newest = tmp_path / states.NEWEST
    content = bytearray(newest.read_bytes())
    place = int(position * len(content))
    damaged = content[:place]  # flip 0 stands for cutting the file short
    if flip:
        damaged = content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
    newest.write_bytes(damaged)
    state, messages = states.load_state(tmp_path)
    assert state["epoch"] == 1
    assert len(messages) == 1 and str(newest) in messages[0] and "the state before it is used" in messages[0]


def test_with_every_state_damaged_the_training_starts_again_and_says_so(tmp_path: Path) -> None:
    for epoch in (1, 2):
        states.save_state(tmp_path, STATE | {"epoch": epoch})
    for name in (states.NEWEST, states.BEFORE):
        (tmp_path / name).write_bytes(b"")
    state, messages = states.load_state(tmp_path)
    assert state is None and len(messages) == 2 and "starts again from the beginning" in messages[-1]
    assert states.load_state(tmp_path / "none") == (None, [])


class Payload:
    """Unpickling it makes a file: what a state from a stranger could do."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_a_hostile_state_is_not_unpickled(tmp_path: Path) -> None:
    states.save_state(tmp_path / "state", STATE | {"extra": Payload(tmp_path / "made")})
    with pytest.raises(UserError, match="not a training state of this program"):
        states.load_state(tmp_path / "state")
    assert not (tmp_path / "made").exists()


def test_a_folder_is_filled_over_several_tries_and_appears_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "fold_0"
    with pytest.raises(KeyboardInterrupt), resumable_directory(out, {"model": 1}) as folder:
        (folder / "a").write_text("1")
        raise KeyboardInterrupt
    assert not out.exists()
    with pytest.raises(KeyboardInterrupt), resumable_directory(out, {"model": 1}) as folder:
        assert (folder / "a").exists()
        raise KeyboardInterrupt
    with resumable_directory(out, {"model": 2}) as folder:
        assert not (folder / "a").exists()  # made for another model
        (folder / "b").write_text("2")
    assert [path.name for path in tmp_path.iterdir()] == ["fold_0"] and [path.name for path in out.iterdir()] == ["b"]
