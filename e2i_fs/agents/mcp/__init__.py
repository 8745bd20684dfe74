"""A feature store for agents that speak the Model Context Protocol: a handful of typed tools, read-only unless allowed.

``e2i-fs mcp`` serves it; `e2i_fs.agents.mcp.serving` is what that calls. Needs ``pip install "e2i-fs[mcp]"``.
"""
