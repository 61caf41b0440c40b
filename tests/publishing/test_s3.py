"""A real S3 server process, and the `publish` rule of the workflow with preprocessed data."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from crossmodal.publishing import dvc
from tests.publishing.conftest import copy_of
from tests.publishing.experiments import NAME, crossmodal, due, fresh_clone, git, graph, save

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3() -> Iterator[str]:
    """Address of moto's server, with an empty bucket named 'models'."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/moto-api/", timeout=1)
                break
            time.sleep(0.1)
        urllib.request.urlopen(urllib.request.Request(f"{address}/models", method="PUT"))
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def with_bucket(finished: Path, folder: Path, address: str) -> Path:
    """A copy of the repository with a bucket at that address as its remote."""
    repository = copy_of(finished, folder)
    dvc.run(repository, "remote", "add", "bucket", "s3://models/crossmodal")
    dvc.run(repository, "remote", "modify", "bucket", "endpointurl", address)
    return repository


def test_publish_to_s3_and_restore_from_it(finished: Path, s3: str, tmp_path: Path) -> None:
    repository = with_bucket(finished, tmp_path / "trained", s3)
    (repository / "given.yaml").write_text(yaml.safe_dump(graph(repository).config))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "publish", "--configfile", "given.yaml"]
    command += ["--config", "publish_remote=bucket", "publish_preprocessed=true"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as `make` has it
    done = subprocess.run(command, cwd=repository, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    save(repository, "Publish")
    assert "testing" not in (repository / ".dvc" / "config").read_text()  # no key goes into git
    listed = urllib.request.urlopen(f"{s3}/models?list-type=2&prefix=crossmodal/files/md5/").read().decode()
    assert listed.count("<Key>") > 20

    clone = fresh_clone(repository, tmp_path / "clone")
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 0, done.stderr
    assert due(clone) == {}
    assert git(clone, "status", "--porcelain") == ""
    # With the preprocessed data another seed trains its own networks and nothing else.
    again = due(clone, seeds=[0, 1])
    assert "preprocess_dataset" not in again and again["train_network"] == 4, "checkpoint and manifest of two networks"


def test_a_server_that_does_not_answer_is_said_so(finished: Path, tmp_path: Path) -> None:
    repository = with_bucket(finished, tmp_path / "trained", "http://127.0.0.1:9")
    done = crossmodal(repository, "publish", f"results/{NAME}", "--remote", "bucket")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Could not connect to the endpoint URL" in done.stderr
