"""Finds a Python on this machine: one that is new enough, and, when asked, one that can make environments.

Read by old Pythons too: nothing here may be newer than Python 3.6.
"""

import os
import shutil
import subprocess

OLDEST = (3, 11)
NEWEST_FIRST = ("python3.13", "python3.12", "python3.11", "python3")


def find_python(modules=()):
    """The path of a Python that is new enough and has these modules; None when there is none."""
    homes = os.path.join(os.path.expanduser("~"), ".pyenv", "versions")
    paths = [shutil.which(name) for name in NEWEST_FIRST]
    if os.path.isdir(homes):
        paths += [os.path.join(homes, home, "bin", "python3") for home in sorted(os.listdir(homes), reverse=True)]
    return next((path for path in paths if path and os.path.exists(path) and can(path, modules)), None)


def can(path, modules=()):
    """Whether that Python starts, is new enough and has the modules. A name on the path may be a shim to nowhere."""
    imports = "".join(f"import {module}; " for module in modules)
    return succeeds([path, "-c", f"import sys; {imports}sys.exit(sys.version_info < {OLDEST})"])


def succeeds(command):
    """Whether the command ends with exit code 0; what it says is not shown."""
    try:
        with open(os.devnull, "wb") as nothing:
            return subprocess.call(command, stdin=nothing, stdout=nothing, stderr=nothing) == 0
    except OSError:
        return False
