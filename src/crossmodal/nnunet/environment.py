"""nnU-Net's environment variables, set for a moment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def environment(**variables: str | Path) -> Iterator[None]:
    """Set environment variables while the block runs, and restore them; paths are made absolute.

    nnU-Net reads its folders and numbers of processes from the environment, not from arguments.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({n: str(value.resolve() if isinstance(value, Path) else value) for n, value in variables.items()})
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name)
        os.environ.update({name: value for name, value in before.items() if value is not None})
