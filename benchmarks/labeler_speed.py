"""Reports a second of the rule labeler on one core: on the reports inside torchxrayvision, or a CSV's.

    python benchmarks/labeler_speed.py [--reports FILE.csv] [--repeat 5]

Prints JSON: the first pass (empty sentence cache) and the best of the next ones (sentences seen before are
looked up), each over the distinct reports only.
"""

import argparse
import importlib.util
import json
import sys
import tarfile
import time
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_module.labeler import label_reports
from data_module.labeler.assertion import read_sentence


def read_open_i() -> list[str]:
    """Findings and impression of the Open-I reports that the torchxrayvision package carries."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or spec.origin is None:
        raise SystemExit("error: torchxrayvision is not installed; give --reports FILE.csv")
    texts = []
    with tarfile.open(Path(spec.origin).parent / "data" / "NLMCXR_reports.tgz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".xml") else None
            if file is not None:
                root = ElementTree.parse(file).getroot()
                sections = {node.get("Label"): node.text or "" for node in root.findall(".//AbstractText")}
                texts.append(f"{sections.get('FINDINGS', '')}\n{sections.get('IMPRESSION', '')}")
    return texts


def time_pass(texts: list[str], cold: bool) -> float:
    """Seconds to label `texts`; `cold`: with an empty sentence cache."""
    if cold:
        read_sentence.cache_clear()
    start = time.perf_counter()
    label_reports(texts)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reports", type=Path, help="a CSV file with a `report` column (default: Open-I)")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    if args.reports:
        texts = pd.read_csv(args.reports, dtype=str, keep_default_na=False)["report"].tolist()
    else:
        texts = read_open_i()
    texts = sorted(set(texts))
    cold_s = min(time_pass(texts, cold=True) for _ in range(args.repeat))
    warm_s = min(time_pass(texts, cold=False) for _ in range(args.repeat))
    result = {
        "num_reports": len(texts),
        "mean_characters": round(sum(map(len, texts)) / len(texts)),
        "reports_per_second_cold": round(len(texts) / cold_s),
        "reports_per_second_warm": round(len(texts) / warm_s),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
