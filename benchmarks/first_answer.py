"""Import, open, ask once, in a process that has imported nothing else: ``python -m benchmarks.first_answer e2i_fs|feast PATH``.

Nothing is imported here before the clock runs but `sys` and `time`, which are built in: what a library needs is its own cost.
"""

import sys
import time


def main(who: str, path: str) -> None:
    """Print, as JSON, the seconds of the import and of the rest, and the values."""
    refs = [f"v0:f{n}" for n in range(10)]
    rows = [{"hcp_id": "hcp_1"}]
    begun = time.perf_counter()
    if who == "e2i_fs":
        import e2i_fs

        imported = time.perf_counter()
        got = e2i_fs.connect({"backend": "duckdb", "path": path}).get_online_features(refs, rows).to_dict()
    else:
        from feast import FeatureStore

        imported = time.perf_counter()
        got = FeatureStore(repo_path=path).get_online_features(refs, rows).to_dict()
    done = time.perf_counter()
    import json

    values = [got[f"f{n}"][0] for n in range(10)]
    print(json.dumps({"import": imported - begun, "answer": done - imported, "values": values}))


if __name__ == "__main__":
    main(*sys.argv[1:])
