"""A real S3 server process, and the `publish` rule of the workflow with preprocessed data."""

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
from crossmodal.publishing.graph import Graph
from tests.publishing.conftest import copy_of
from tests.publishing.experiments import NAME, crossmodal, fresh_clone, git, given_part, save

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of moto's server, with an empty bucket named 'models'."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        urllib.request.urlopen(urllib.request.Request(f"{address}/models", method="PUT"))
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=1)
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{address} does not answer")


def test_publish_to_s3_and_restore_from_it(finished: Path, s3: str, tmp_path: Path) -> None:
    repository = copy_of(finished, tmp_path / "trained")
    dvc.run(repository, "remote", "add", "bucket", "s3://models/crossmodal")
    dvc.run(repository, "remote", "modify", "bucket", "endpointurl", s3)
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "publish"]
    changes = ["--configfile", "given.yaml", "--config", "publish_remote=bucket", "publish_preprocessed=true"]
    (repository / "given.yaml").write_text(yaml.safe_dump(given_part(repository / "results" / NAME)))
    done = subprocess.run(
        [*snakemake, *changes], cwd=repository, env=os.environ | path(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    save(repository, "Publish")
    assert "testing" not in (repository / ".dvc" / "config").read_text()  # no key goes into git
    listed = urllib.request.urlopen(f"{s3}/models?list-type=2&prefix=crossmodal/files/md5/").read().decode()
    assert listed.count("<Key>") > 20

    clone = fresh_clone(repository, tmp_path / "clone")
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 0, done.stderr
    given = given_part(clone / "results" / NAME)
    assert Graph(clone, given).jobs_due() == {}
    assert git(clone, "status", "--porcelain") == ""
    # With the preprocessed data another seed trains its own networks and nothing else.
    due = Graph(clone, given | {"seeds": [0, 1]}).jobs_due()
    assert "preprocess_dataset" not in due and due["train_network"] == 2


def test_a_server_that_does_not_answer_is_said_so(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    repository = copy_of(finished, tmp_path / "trained")
    dvc.run(repository, "remote", "add", "bucket", "s3://models/crossmodal")
    dvc.run(repository, "remote", "modify", "bucket", "endpointurl", "http://127.0.0.1:9")
    done = crossmodal(repository, "publish", f"results/{NAME}", "--remote", "bucket")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Could not connect to the endpoint URL" in done.stderr


def path() -> dict[str, str]:
    """PATH with this environment's commands first, as `make` has it."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
