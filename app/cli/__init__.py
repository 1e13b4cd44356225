"""The `flask codex ...` commands: what an operator types. They talk to people, so they print sentences, not logs."""
