"""The direct path (broker and writer in one process) beside Mosquitto and a worker; the relay beside Mosquitto's.

The same payloads at QoS 1 into the same embedded PostgreSQL, from the first byte published to the last commit. With the
direct path a PUBACK means committed; Mosquitto acknowledges from memory. The rows of both databases are compared.
"""

import argparse

from benchmarks import brokers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    args = parser.parse_args()
    messages = brokers.payloads(args.messages)
    with brokers.databases("direct", "hop") as urls:
        ours, cpu = brokers.stored(0, urls["direct"], messages, direct=True)
        with brokers.mosquitto() as port:
            theirs, theirs_cpu = brokers.stored(port, urls["hop"], messages, direct=False)
        rows = brokers.rows_of(urls["direct"])
        assert len(rows) == args.messages
        assert rows == brokers.rows_of(urls["hop"]), "the two did not store the same readings"
    with brokers.embedded("--durable", "none/#") as port:
        relay = brokers.relayed(port, messages)
    with brokers.mosquitto() as port:
        relay_theirs = brokers.relayed(port, messages)
    n = args.messages
    cpus = f"{1e6 * cpu / n:.1f} and {1e6 * theirs_cpu / n:.1f} us of CPU each in its process"
    print(
        f"direct: {theirs / ours:.2f} x Mosquitto and a worker"
        f" ({n / ours:,.0f} and {n / theirs:,.0f} messages/s, {cpus})"
        f"; relay alone {relay_theirs / relay:.2f} x Mosquitto's ({n / relay:,.0f} and {n / relay_theirs:,.0f}/s)"
    )


if __name__ == "__main__":
    main()
