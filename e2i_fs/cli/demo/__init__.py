"""The demo: the whole road on E2I data, in which every claim that is printed was checked. Start at `run.py`."""
