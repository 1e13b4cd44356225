"""An endpoint over the store of answers alone: it stores a text, and finds it again."""
