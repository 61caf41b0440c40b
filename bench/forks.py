"""Runs a command in which every `crossmodal` is a fork of one process that has imported torch and nnU-Net already.

    python bench/forks.py [--predictors 8] -- snakemake --cores 16 --resources gpu=16 --configfile …

A small training or prediction on a GPU takes seconds, and importing and starting the GPU as long again. Here a command
starts in a few hundredths of a second. `predict-cases` runs in processes that live on, so that the GPU and its kernels
are chosen once. Where several jobs share a GPU, CROSSMODAL_JOBS_PER_GPU says how many (docs/cluster.md).
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

import typer

# Imports nothing but what Python starts with: sends its arguments, folder, environment and streams, waits for the code.
CLIENT = """#!{python} -SE
import json, os, socket, sys
kind = "predict" if sys.argv[1:2] == ["predict-cases"] else "any"
to = socket.socket(socket.AF_UNIX)
to.connect("{folder}/" + kind)
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(to, [len(request).to_bytes(4, "big")], [0, 1, 2])
to.sendall(request)
code = to.recv(1)
sys.exit(code[0] if code else 1)
"""
MODULES = (
    *("train.job", "nnunet.predict", "nnunet.dataset", "nnunet.export", "evaluate.score", "evaluate.collect"),
    *("phantom", "cohort.check", "evaluate.trainings", "figures.collect", "evaluate.shards"),
)


def listening(path: Path) -> socket.socket:
    """A socket that clients find at a path."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1024)
    return server


def received(connection: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    """A client's arguments, folder, environment and its three streams."""
    size, streams, _, _ = socket.recv_fds(connection, 4, 3)
    left, parts = int.from_bytes(size, "big"), []
    while left:
        parts.append(connection.recv(left))
        left -= len(parts[-1])
    return (*json.loads(b"".join(parts)), streams)


def answered(connection: socket.socket) -> None:
    """Do what a client asks for, with its streams, and send it the exit code."""
    from crossmodal.cli import main

    arguments, folder, environment, streams = received(connection)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, code = ["crossmodal", *arguments], 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([code % 256]))


def predict(server: socket.socket) -> None:
    """One process's work: predictions, one after another."""
    null = os.open(os.devnull, os.O_RDWR)
    while True:
        connection, _ = server.accept()
        with connection, suppress(BrokenPipeError):
            answered(connection)
        for number in range(3):  # the client's log ends when nobody has it open
            os.dup2(null, number)


def serve(to_predict: socket.socket, any_other: socket.socket, predictors: int) -> None:
    """Answer clients until this process is ended."""
    import importlib

    for name in MODULES:
        importlib.import_module(f"crossmodal.{name}")
    # A third of scoring a small case: a table that depends on the size of a voxel alone, computed for each mask.
    from surface_distance import lookup_tables

    area = "create_table_neighbour_code_to_surface_area"
    once = functools.cache(getattr(lookup_tables, area))
    setattr(lookup_tables, area, lambda spacing: once(tuple(map(float, spacing))))
    once((3.0, 3.0, 3.0))
    for _ in range(predictors):
        if os.fork() == 0:
            predict(to_predict)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave nothing behind
    while True:
        connection, _ = any_other.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with connection, suppress(BrokenPipeError):
                answered(connection)
            os._exit(0)
        connection.close()


def main(command: list[str], predictors: int = 4) -> None:
    """Run a command with `crossmodal` at hand; its exit code. --predictors: processes that predict."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        client = folder / "crossmodal"
        client.write_text(CLIENT.format(python=sys.executable, folder=folder))
        client.chmod(0o755)
        sockets = listening(folder / "predict"), listening(folder / "any")  # a client that is too early waits
        if (server := os.fork()) == 0:
            os.setpgid(0, 0)
            serve(*sockets, predictors)
        try:
            path = f"{folder}{os.pathsep}{os.environ['PATH']}"
            code = subprocess.run(command, env=os.environ | {"PATH": path, "CROSSMODAL_FORKS": place}).returncode
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server, signal.SIGTERM)
            os.waitpid(server, 0)
    raise SystemExit(code)


if __name__ == "__main__":
    typer.run(main)
