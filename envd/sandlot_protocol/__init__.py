"""The wire contract shared by agent, server and client."""
