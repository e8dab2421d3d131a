"""Messages: a bus for what needs no live connection.

A message is sealed to its recipients, names no sender, and is relayed only within its sender's
rate; store nodes keep it for those who are away. Relays see topic, size bucket and time.
"""
