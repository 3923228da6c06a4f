"""The reference: a report of the numbers in a file."""

import json
import sys
from pathlib import Path

from stats import mean, median

if __name__ == "__main__":
    numbers = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    report = {"mean": mean(numbers), "median": median(numbers)}
    Path("report.json").write_text(json.dumps(report), "utf-8")
