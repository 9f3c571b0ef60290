"""How long preparing many images takes, and how much memory: `make scale`, docs/scale.md."""
