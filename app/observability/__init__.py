"""What operators see. Subscribes to what happens above and below; no lower layer imports it.

Never a prompt, an answer or a key: fields are chosen one by one.
"""
