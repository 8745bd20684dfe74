"""What agents use: typed components over a `FeatureStore`, and a server for agents that speak MCP (`e2i_fs.agents.mcp`)."""
