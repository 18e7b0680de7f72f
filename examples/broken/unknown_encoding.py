# -*- coding: klingon -*-
"""An encoding that Python does not know."""
