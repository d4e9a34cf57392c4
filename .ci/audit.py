"""Ask pip-audit whether a known fault is published for anything in the lock file.

Ends with 1 when one is, and with 0 and a line that says so where nobody answers: an audit is no test of this code.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parent / "requirements.txt"
PROBE_SECONDS = 10.0
AUDIT_SECONDS = 180.0


def asked(requirements: Path, seconds: float) -> list[dict[str, Any]] | None:
    """Return what is known of each requirement; None: nobody answered in time."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--requirement"]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        done = subprocess.run(
            [*command, str(requirements), *options], capture_output=True, text=True, timeout=seconds, check=False
        )
        dependencies = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return [dependency for dependency in dependencies if "skip_reason" not in dependency] or None


def probed() -> bool:
    """Whether there is a service that knows the first requirement of the lock file: the others need no asking if not."""
    with tempfile.TemporaryDirectory() as directory:
        probe = Path(directory) / "requirements.txt"
        name, a_hash = LOCK.read_text().replace("\\", "").splitlines()[:2]
        probe.write_text(f"{name.strip()} {a_hash.strip()}\n")
        return asked(probe, PROBE_SECONDS) is not None


def main() -> int:
    """Print what was found, and return the exit code."""
    if not probed() or (known := asked(LOCK, AUDIT_SECONDS)) is None:
        print("skipped: no service that knows of published faults answers here")
        return 0
    faults = [(found["name"], found["version"], fault["id"]) for found in known for fault in found["vulns"]]
    for fault in faults:
        print(*fault)
    print(f"{len(known)} packages of the lock file looked up, {len(faults)} published faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
