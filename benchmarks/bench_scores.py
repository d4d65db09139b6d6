"""How well the estimator tells what hidden sensors saw, beside nearest, inverse distance and class mean."""

import argparse
import os
import time
from pathlib import Path

from benchmarks import scores_aarhus, scores_bologna, scores_city, scores_metr_la

NO_DATA = "NO REAL INPUT DATA: set CITYTWIN_TEST_DATA to the shared data folder, or give --data"
PARTS = ("city", "metr_la", "aarhus", "bologna")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get("CITYTWIN_TEST_DATA")
    parser.add_argument("--data", type=Path, default=given and Path(given), help="the shared data folder")
    parser.add_argument("--only", choices=PARTS, help="one of the scores")
    parser.add_argument(
        "--seeds", type=int, help="how many; five in Los Angeles, three in Aarhus; Bologna hides each in turn"
    )
    parser.add_argument("--junctions", type=int, default=300, help="of the generated city")
    args = parser.parse_args()
    for part in [args.only] if args.only else PARTS:
        if part != "city" and (args.data is None or not (args.data / part).is_dir()):
            print(f"scores: {part}: {NO_DATA}")
            continue
        begin = time.process_time()
        if part == "city":
            found = scores_city.lines(junctions=args.junctions)
        elif part == "metr_la":
            found = scores_metr_la.lines(args.data / part, range(args.seeds or 5))
        elif part == "bologna":
            found = scores_bologna.lines(args.data / part)
        else:
            found = scores_aarhus.lines(args.data / part, range(args.seeds or 3))
        print("\n".join(found))
        print(f"scores: {part}: {time.process_time() - begin:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
