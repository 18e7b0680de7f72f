"""An app that cannot be imported."""

from __future__ import annotations

raise RuntimeError("SHOP_API_KEY is not set")
