"""A machine without a network."""

import pytest


def disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download fail at once, as without a network, until the test ends."""
    for scheme in ("http", "https"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # urllib keeps the first opener of the process, and with it the proxies of that moment.
    monkeypatch.setattr("urllib.request._opener", None)
