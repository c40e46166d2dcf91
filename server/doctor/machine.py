"""What the machine allows: descriptors, processes, memory, disk."""

import resource
from collections.abc import Iterator

from .. import gates, host
from .patient import Finding, Patient, fine, warning

FEWEST_FILES = 1024
PROCESSES_PER_AGENT = 50


def limits(patient: Patient) -> Iterator[Finding]:
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    wanted = PROCESSES_PER_AGENT * patient.settings.crew.max_parallel
    if files != resource.RLIM_INFINITY and files < FEWEST_FILES:
        can = "" if most_files == resource.RLIM_INFINITY or most_files >= FEWEST_FILES else " (as root)"
        yield warning(
            f"A process may open {files} files; many agents and clients at once need more.",
            f"`ulimit -n {FEWEST_FILES}`{can} before `crewyard start`.",
        )
    if processes != resource.RLIM_INFINITY and processes < wanted:
        yield warning(
            f"You may have {processes} processes; {patient.settings.crew.max_parallel} agents may want {wanted}.",
            f"`ulimit -u {wanted}` before `crewyard start`, or a smaller crew.max_parallel.",
        )
    told = ["unlimited" if each == resource.RLIM_INFINITY else str(each) for each in (files, processes)]
    yield fine(f"open files {told[0]}, processes {told[1]}")


def room(patient: Patient) -> Iterator[Finding]:
    paths = patient.paths
    load = host.Watch(paths.worktrees if paths is not None else patient.start.resolve()).load()
    refused = gates.of_machine(load, patient.settings.launch, agents_at_work=0)
    if refused is not None:
        yield warning(
            f"No agent would be launched now: {refused.message}.",
            "Make room, or lower min_free_memory_mb or min_free_disk_mb in [launch].",
        )
    else:
        yield fine(f"free memory {load.free_memory_mb:.0f} MiB, free disk {load.free_disk_mb:.0f} MiB")
