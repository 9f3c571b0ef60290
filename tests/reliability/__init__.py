"""How the project behaves when it is killed, fed damaged files, or run on an unfriendly machine.

`make reliability` measures it and writes docs/reliability.md; the tests run a few cases of each part.
"""
