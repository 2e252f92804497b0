"""What several tests of adapters are given."""

from tests.tool_servers import serve

__all__ = ["serve"]
