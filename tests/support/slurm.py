"""A SLURM cluster of one node, this machine. It needs the programs of SLURM and munge, and root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
CORES = 2
_SECONDS_TO_START = 60
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=8192 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def require_slurm() -> None:
    """Skip the test where no cluster can be started."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"SLURM is not installed ({missing[0]}): apt-get install slurm-wlm munge")
    if os.getuid() != 0:
        pytest.skip("a SLURM cluster for tests can be started by root only")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for item in opened:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in opened]


@contextmanager
def _daemon(folder: Path, *words: str) -> Iterator[None]:
    with (folder / f"{words[0]}.out").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(words: Sequence[str], output: str) -> None:
    """Wait until a command prints some output."""
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end:
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        if result.returncode == 0 and output in result.stdout:
            return
        time.sleep(0.3)
    pytest.fail(f"{words[0]}: {result.stdout}{result.stderr}")


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[None]:
    """Run a cluster; the programs of SLURM find it by the environment.

    Args:
        folder: an empty one, for its state and logs.
    """
    require_slurm()
    control_port, node_port = _free_ports(2)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    (folder / "state").mkdir()
    configuration = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    configuration.write_text(
        _CONFIGURATION.format(
            host=host, control_port=control_port, node_port=node_port, folder=folder, cores=CORES
        )
    )
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
    options = [f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as daemons:
        patch.setenv("SLURM_CONF", str(configuration))
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        munge = ("munged", "--foreground", "--force", f"--log-file={folder}/munge.log", *options)
        daemons.enter_context(_daemon(folder, *munge))
        _wait_for(("munge", "--no-input", f"--socket={folder}/munge.socket"), "MUNGE")
        daemons.enter_context(_daemon(folder, "slurmctld", "-D", "-c"))
        daemons.enter_context(_daemon(folder, "slurmd", "-D", "-N", host))
        _wait_for(("sinfo", "--noheader", "--format=%T"), "idle")
        yield
        subprocess.run(("scancel", "--me", "--full", "--signal=KILL"), check=False)
