"""How long preparing many images takes, and how much memory: `python -m scale`, docs/scale.md."""
