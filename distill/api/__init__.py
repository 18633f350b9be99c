"""HTTP routes under /distill/v1/, for programs: what the tab can do, without the tab."""

from distill.api.policy import Policy
from distill.api.routes import add_routes

__all__ = ["Policy", "add_routes"]
