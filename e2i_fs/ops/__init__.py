"""Running a store: records, materialisation, freshness, statistics."""
