"""Run the commands of docs/story.md again and put what they print below each.

    make demo
    .venv/bin/python benchmarks/story.py

A block of sh or python that a block of text follows is run in the repository's root; a number on
that page comes from there or not at all.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/story.md"
BLOCK = re.compile(r"(```(sh|python)\n(.*?)```\n\n```text\n)(.*?)(```)", re.S)
RUN_BY = {"sh": ["bash", "-ec"], "python": [sys.executable, "-c"]}


def printed(language: str, code: str) -> str:
    """Standard output of a block; a block that fails ends everything."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [*RUN_BY[language], code], cwd=ROOT, env=os.environ | {"PATH": path, "PYTHONPATH": "."},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return "".join(line.rstrip() + "\n" for line in ran.stdout.splitlines())


def main() -> None:
    told = BLOCK.sub(lambda m: m[1] + printed(m[2], m[3]) + m[5], PAGE.read_text())
    PAGE.write_text(told)


if __name__ == "__main__":
    main()
