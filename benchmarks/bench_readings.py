"""Twenty readings in a payload beside one: the same readings through the direct path into the same kind of database."""

import argparse

from benchmarks import brokers

EACH = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=200_000)
    args = parser.parse_args()
    turns = max(1, args.readings // (EACH * brokers.SENSORS))
    count = turns * EACH * brokers.SENSORS
    with brokers.databases("many", "single") as urls:
        many, _ = brokers.stored(
            0, urls["many"], brokers.payloads(count // EACH, readings=EACH), direct=True, readings=EACH
        )
        single, _ = brokers.stored(0, urls["single"], brokers.payloads(count), direct=True)
        keys = [{row[:3] for row in brokers.rows_of(urls[name])} for name in ("many", "single")]
    assert len(keys[0]) == count
    assert keys[0] == keys[1], "not the same sensors and times"
    print(
        f"readings: {single / many:.1f} x the readings a second with {EACH} in a payload"
        f" ({count / many:,.0f} and {count / single:,.0f} readings/s)"
    )


if __name__ == "__main__":
    main()
