"""Feast's Spark offline store: point-in-time retrieval on Spark itself, with the contract kept. Imports no pyspark."""
