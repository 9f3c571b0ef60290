"""Ways to pass a forgery, to run code, to write outside or to deceive a reader, as data.

Each module has a family of attacks; importing the package enters all of them into `attack.ATTACKS`. An
attack changes a committed project as an attacker would, and says what verify must make of it;
`judging` runs verify on it.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
