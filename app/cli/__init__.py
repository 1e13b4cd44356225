"""Commands `flask codex …` for an operator: they print sentences for a person, and no log.

They know the settings, the codex installation, a child of their own, and a running gateway over HTTP. They must not
know an endpoint or how an answer is made; the application's factory alone knows them, by their group.
"""
