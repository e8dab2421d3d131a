"""Floor 3: unlinkability: who asked and who paid is known to nobody, and floods are stopped all the same.

Promise: written by the issue's pieces as they land.
"""
