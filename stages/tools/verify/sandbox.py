"""Run a command that can write to a few folders only, without network, and within limits.

`evidence verify` runs code of strangers in it. It needs no further program and no privileges: a process
gives up its own rights before it becomes the command, and all its children inherit that.

- A mount namespace makes every file system read-only but the given folders; Landlock denies writing
  elsewhere as well, where the system refuses such a namespace.
- A network namespace has no network but loopback; Landlock denies all TCP without it.
- A process namespace ends every process of the command with it.

Run as a script, with the interpreter in isolated mode, so it imports the standard library only.
"""

import argparse
import ctypes
import fcntl
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NEW_NAMESPACES = {"files": 0x00020000, "network": 0x40000000, "processes": 0x20000000}
_NEW_USER = 0x10000000
_BIND, _PRIVATE, _RECURSIVE = 0x1000, 0x40000, 0x4000
_MOUNT_SETATTR, _AT_RECURSIVE, _READ_ONLY = 442, 0x8000, 1
_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446  # of Landlock, on every architecture
_RULE_PATH, _VERSION = 1, 1
_WRITE_FILE = 1 << 1
_ALL_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))
_TRUNCATE, _TRUNCATE_ABI = 1 << 14, 3
_FIRST_ABI = 2  # with the first one no file could be moved to another folder
_TCP, _TCP_ABI = 0b11, 4
_SET_FLAGS, _UP = 0x8914, 1  # of a network interface
_NO_NEW_PRIVILEGES, _PARENT_DEATH_SIGNAL = 38, 1
# Devices without which programs do not run, and those of GPUs.
_DEVICES = re.compile(r"null|zero|full|random|urandom|tty|shm|nvidia.*|dri|kfd")
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_KEY|AUTH_SOCK", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """What a command may use.

    Attributes:
        memory: bytes of private memory a process; 0 for no limit.
        processor: seconds of processor time a process; 0 for no limit.
        network: whether it may use the network.
    """

    memory: int = 0
    processor: int = 0
    network: bool = False


def sandboxed(
    command: Sequence[str], writable: Sequence[Path], limits: Limits | None = None
) -> list[str]:
    """Return the command line that runs a command in the sandbox.

    Args:
        command: and its arguments.
        writable: the folders to which it may write.
        limits: none by default.
    """
    limits = limits or Limits()
    folders = [part for folder in writable for part in ("--writable", str(folder))]
    bounds = ["--memory", str(limits.memory), "--processor", str(limits.processor)]
    if limits.network:
        bounds.append("--network")
    return [sys.executable, "-I", __file__, *folders, *bounds, "--", *command]


def missing_protection() -> list[str]:
    """Return what this system does not offer, in words; nothing if code runs fully confined."""
    probe = [sys.executable, "-I", __file__, "--probe"]
    result = subprocess.run(probe, capture_output=True, text=True, check=False)
    try:
        available: list[str] = json.loads(result.stdout)
    except ValueError:
        available = []
    words = {
        "read-only": "it can write wherever you can",
        "network": "it has your network",
        "processes": "processes that it starts may outlive it",
    }
    return [word for name, word in words.items() if name not in available]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> int:
    """Call a function of the C library.

    Raises:
        OSError: it fails.
    """
    result: int = getattr(_libc(), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def _unshare(names: Sequence[str]) -> None:
    user, group = os.getuid(), os.getgid()
    flags = sum(_NEW_NAMESPACES[name] for name in names)
    _call("unshare", _NEW_USER | flags)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def _raise_loopback() -> None:
    """Bring up the loopback interface of a new network namespace: processes of a stage talk over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        fcntl.ioctl(endpoint, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def _mount_read_only(writable: Sequence[str]) -> None:
    """Make every mounted file system read-only, but for these folders; in a mount namespace."""

    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user")]

    def set_attributes(path: str, flags: int, **values: int) -> None:
        attributes = Attributes(**values)
        size = ctypes.sizeof(attributes)
        path_bytes = os.fsencode(path)
        _call("syscall", _MOUNT_SETATTR, -100, path_bytes, flags, ctypes.byref(attributes), size)

    _call("mount", None, b"/", None, ctypes.c_ulong(_PRIVATE | _RECURSIVE), None)
    for folder in writable:
        name = os.fsencode(folder)
        _call("mount", name, name, None, ctypes.c_ulong(_BIND | _RECURSIVE), None)
    set_attributes("/", _AT_RECURSIVE, set=_READ_ONLY)
    for folder in writable:
        set_attributes(folder, 0, clear=_READ_ONLY)
    os.chdir(Path.cwd())  # in the new mount: the present folder is still that of the old one


def _landlock_version() -> int:
    try:
        return _call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


def _restrict_writes(writable: Sequence[str], *, deny_tcp: bool) -> None:
    """Deny this process and its children, by Landlock, to write anywhere but in these folders."""

    class Ruleset(ctypes.Structure):
        _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64)]

    class PathRule(ctypes.Structure):
        _pack_ = 1
        _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]

    version = _landlock_version()
    rights = _ALL_WRITES | (_TRUNCATE if version >= _TRUNCATE_ABI else 0)
    ruleset = Ruleset(rights, _TCP if deny_tcp and version >= _TCP_ABI else 0)
    size = 16 if version >= _TCP_ABI else 8
    handle = _call(
        "syscall", _CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    devices = [entry.path for entry in os.scandir("/dev") if _DEVICES.fullmatch(entry.name)]
    for path in [*writable, *devices]:
        with suppress(FileNotFoundError):
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if Path(path).is_dir() else rights & (_WRITE_FILE | _TRUNCATE)
            rule = PathRule(allowed, parent)
            _call("syscall", _ADD_RULE, handle, _RULE_PATH, ctypes.byref(rule), ctypes.c_uint32(0))
            os.close(parent)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("syscall", _RESTRICT, handle, ctypes.c_uint32(0))
    os.close(handle)


def _unshare_most(*, network: bool) -> set[str]:
    """Enter as many new namespaces as the system allows; return their names."""
    if sys.platform != "linux":
        return set()
    for names in (("files", "network", "processes"), ("network", "processes"), ("network",)):
        namespaces = [name for name in names if not (network and name == "network")]
        with suppress(OSError):
            _unshare(namespaces)
            return set(namespaces)
    return set()


def _confine(writable: Sequence[str], *, network: bool) -> set[str]:
    """Give up the right to write elsewhere; return the names of the protections that hold.

    Their names: "read-only", "network", "processes".
    """
    protections = _unshare_most(network=network)
    if "network" in protections:
        with suppress(OSError):
            _raise_loopback()
    if "files" in protections:
        protections.remove("files")
        with suppress(OSError):
            _mount_read_only([*writable, "/dev/shm"])  # noqa: S108 (where libraries share memory)
            protections.add("read-only")
    version = _landlock_version() if sys.platform == "linux" else 0
    if version >= _FIRST_ABI:
        with suppress(OSError):
            deny_tcp = not network and "network" not in protections
            _restrict_writes(writable, deny_tcp=deny_tcp)
            protections.add("read-only")
            if deny_tcp and version >= _TCP_ABI:
                protections.add("network")
    return protections


def _set_limits(memory: int, processor: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, value in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CPU, processor)):
        if value:
            _, highest = resource.getrlimit(kind)
            limit = value if highest == resource.RLIM_INFINITY else min(value, highest)
            resource.setrlimit(kind, (limit, limit))


def _run(command: Sequence[str]) -> int:
    """Run the command as a child, end all other processes with it, and return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            os.execvpe(command[0], list(command), os.environ)  # noqa: S606 (no shell is wanted)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    while True:
        process, status = os.wait()
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _supervise(command: Sequence[str]) -> int:
    """Run the command below a first process of the new process namespace, which ends with this one."""
    first = os.fork()
    if first == 0:
        _call("prctl", _PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        os._exit(_run(command))
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Confine this process and run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writable", action="append", default=[])
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--processor", type=int, default=0)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()
    protections = _confine(arguments.writable, network=arguments.network)
    if arguments.probe:
        print(json.dumps(sorted(protections)))
        return 0
    for name in [name for name in os.environ if _SECRET.search(name)]:
        del os.environ[name]
    _set_limits(arguments.memory, arguments.processor)
    if "processes" in protections:
        return _supervise(arguments.command)
    return _run(arguments.command)


if __name__ == "__main__":
    sys.exit(main())
