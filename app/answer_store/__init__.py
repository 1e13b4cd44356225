"""Store of answers: what was answered, for those who ask for it again or go on from it.

Knows bytes, ids and owners. Must not know which endpoint made an answer, what is in it, or Flask.
"""
