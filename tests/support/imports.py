"""What a new interpreter has imported once it has imported asyncjobs; one is started for all tests that ask."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.directories import made_once

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys
import asyncjobs
package = sorted(sys.modules)
import asyncjobs.testing
print(json.dumps({"asyncjobs": package, "asyncjobs.testing": sorted(sys.modules)}))
"""


def imported_by(module: str) -> set[str]:
    """The names of all modules, after the import of `asyncjobs`, or of `asyncjobs.testing`."""

    def make(directory: Path, _final: Path) -> None:
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
        (directory / "modules.json").write_text(done.stdout)

    return set(json.loads((made_once("imports", make) / "modules.json").read_text())[module])
