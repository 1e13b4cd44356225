"""Commands `flask codex …` for an operator. They print sentences for a person, and no log."""
