"""Fails when a Python file has more than 400 lines: past that it wants splitting."""

import subprocess
import sys
from pathlib import Path

LIMIT = 400

listed = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\n")
counts = {name: len(Path(name).read_text(encoding="utf-8").splitlines()) for name in listed if Path(name).is_file()}
long = {name: count for name, count in counts.items() if count > LIMIT}
for name, count in sorted(long.items()):
    print(f"{name}: {count} lines, more than {LIMIT}")
print(f"{len(counts)} Python files, {len(long)} of them over {LIMIT} lines")
sys.exit(1 if long else 0)
