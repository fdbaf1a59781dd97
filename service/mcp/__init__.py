"""An MCP server on stdio that lets coding agents read results over the HTTP API of a server. It changes nothing."""
