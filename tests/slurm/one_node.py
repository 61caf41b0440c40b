"""A real Slurm on one node, with a munge of its own, all in one temporary folder.

Nothing outside that folder is read or written: no /etc/slurm, no /etc/munge, no device nodes in /dev. The daemons
are children of this process and end with it. They run as the current user, whether root or not.
"""

import contextlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scancel", "scontrol")
DAEMONS = ("munged", "slurmctld", "slurmd", "slurmdbd", "slurmstepd")
# Slurm checks time limits every 30 s, so a test that waits for a limit takes at least that long.
CONFIGURATION = """\
ClusterName=crossmodal-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
TaskPlugin=task/none
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,defer
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=256000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


def reasons_to_refuse() -> list[str]:
    """Reasons not to start a Slurm here; empty when there are none."""
    reasons = []
    if os.environ.get("CI") not in ("true", "1") and os.environ.get("CROSSMODAL_TEST_SLURM") != "1":
        reasons.append("it starts daemons, so it runs in CI or with CROSSMODAL_TEST_SLURM=1 only")
    reasons += [f"{process.name()} is already running (process {process.pid})" for process in running()]
    reasons += [
        f"{path} exists: this machine has a Slurm or munge already"
        for path in ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/munge/munge.socket.2")
        if Path(path).exists()
    ]
    if "SLURM_CONF" in os.environ or "SLURM_JOB_ID" in os.environ:
        reasons.append("SLURM_CONF or SLURM_JOB_ID is set: this shell uses another Slurm")
    return reasons


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]


def running(mentioning: str = "") -> list[psutil.Process]:
    """Processes of munge and Slurm; only those whose command line or environment mentions a text."""
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
            if process.info["name"] in DAEMONS and process.status() != psutil.STATUS_ZOMBIE:
                texts = [*process.cmdline(), *process.environ().values()] if mentioning else [""]
                if any(mentioning in text for text in texts):
                    found.append(process)
    return found


class OneNode:
    """One node that reports the given numbers of CPUs and GPUs and 256 GB of memory, whatever the machine has.

    Attributes:
        folder: holds everything; in /tmp, since munge requires that all users can enter each folder above its socket.
        environment: for processes that use this Slurm.
    """

    def __init__(self, cpus: int, gpus: int) -> None:
        self.folder = folder = Path(tempfile.mkdtemp(prefix="crossmodal-slurm-", dir="/tmp"))
        path = f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        self.daemons: list[subprocess.Popen] = []
        folder.chmod(0o755)
        for name in ("munge", "state", "spool", "gpu", "bin"):
            (folder / name).mkdir(mode=0o755)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for number in range(gpus):
            device = folder / "gpu" / str(number)
            try:  # one that behaves like /dev/null; a plain file where device nodes are not permitted
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            except PermissionError:
                device.touch()
        host = socket.gethostname().split(".")[0]
        values = {"folder": folder, "host": host, "user": pwd.getpwuid(os.getuid()).pw_name}
        values |= {"controller_port": _free_port(), "node_port": _free_port(), "cpus": cpus, "gpus": gpus}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
        (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu/[0-{gpus - 1}]\n")
        # Snakemake's job step removes every SLURM_ variable from srun's environment, SLURM_CONF too.
        srun = folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)

    def start(self) -> None:
        """Start munge and Slurm and wait until the node is idle.

        Raises:
            RuntimeError: a daemon is not ready in time; with the end of the logs.
        """
        munge, configuration = self.folder / "munge", str(self.folder / "slurm.conf")
        own = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
        files = [f"--{option}={munge / name}" for option, name in own.items()]
        self._run("munged", "--foreground", *files, ready=(munge / "socket").exists)
        self._run("slurmctld", "-D", "-f", configuration, ready=lambda: "UP" in self.ask("scontrol", "ping"))
        self._run("slurmd", "-D", "-f", configuration, ready=self._is_idle)

    def _is_idle(self) -> bool:
        return set(self.ask("sinfo", "-h", "-o", "%T").split()) == {"idle"}

    def stop(self) -> None:
        """Cancel every job, end the daemons, and remove all files of this Slurm."""
        if len(self.daemons) == 3:
            self.ask("scancel", "--state=PENDING")
            self.ask("scancel", "--signal=KILL", "--full", *self.active_jobs())
            with contextlib.suppress(AssertionError):
                self.until_idle(20)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self.left_over():
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def left_over(self) -> list[psutil.Process]:
        """Daemons of this Slurm that are still running."""
        return running(mentioning=str(self.folder))

    def ask(self, *command: str) -> str:
        """What a Slurm command prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    def active_jobs(self) -> list[str]:
        """Ids of the jobs that are pending, running or completing."""
        return self.ask("squeue", "-h", "-o", "%i").split()

    def job_of(self, mark: str) -> str:
        """Id of the running job whose comment holds a text; empty when there is none."""
        lines = self.ask("squeue", "-h", "--states=RUNNING", "-o", "%i %k").splitlines()
        return next((line.split()[0] for line in lines if mark in line), "")

    def jobs(self) -> dict[str, dict[str, str]]:
        """Every job so far, as `scontrol show job` prints it, by id and in the order of submission."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]
        return {job["JobId"]: job for job in sorted(jobs, key=lambda job: int(job["JobId"]))}

    def until_idle(self, seconds: float) -> None:
        """Wait until no job is left in the queue."""
        deadline = time.monotonic() + seconds
        while self.active_jobs():
            assert time.monotonic() < deadline, f"still in the queue: {self.ask('squeue')}"
            time.sleep(0.2)

    def _run(self, program: str, *options: str, ready: Callable[[], bool]) -> None:
        with (self.folder / f"{program}.out").open("w") as output:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", program, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C stops the tests, which then stop the daemons in order
            )
        self.daemons.append(daemon)
        deadline = time.monotonic() + 30
        while not ready():
            ended = [daemon.args[3] for daemon in self.daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- {log}\n{''.join(log.read_text(errors='replace').splitlines(keepends=True)[-15:])}"
                    for log in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
                )
                self.stop()
                raise RuntimeError(f"{program} is not ready after 30 s; ended: {', '.join(ended) or 'none'}\n{logs}")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
