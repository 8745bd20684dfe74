"""The point-in-time engine: one implementation of the P rules, in DuckDB SQL over Arrow and Parquet."""
