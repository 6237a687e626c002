"""Page faults of a loop, in a process of its own: what its allocator asks of the system."""

import subprocess
import sys

_SCRIPT = """
import resource
import numpy as np

{setup}

def run():
    {work}

for i in range(13):
    if i == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def faults_per_run(setup: str, work: str) -> float:
    """Return the page faults of a run, after three that warm up.

    Args:
        setup: lines that come first.
        work: a line that is run; what it takes is freed at its end.
    """
    script = _SCRIPT.format(setup=setup, work=work)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)
