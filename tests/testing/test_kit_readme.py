"""The test files of the README's section on testing, run by pytest as a reader would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Testing\n")[2].partition("\n## ")[0]
FILES = re.findall(r"^```python\n(# test_\w+\.py\n.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", FILES, ids=lambda text: text.split()[1])
def test_a_test_file_of_the_readme_passes(run_pytest, text: str) -> None:
    ran = run_pytest(text, "-o", "asyncio_mode=auto", jobs=False)
    ran.passed(len(re.findall(r"^(?:async )?def test_", text, re.MULTILINE)))
