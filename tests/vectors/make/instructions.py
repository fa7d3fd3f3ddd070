"""Instructions, good and bad. Each case: a name, what it is, the answer, and what to change."""

from orders import cases

# In this order they are numbered.
import orders_good  # noqa: F401
import orders_signed  # noqa: F401
import orders_members  # noqa: F401
import orders_disclosed  # noqa: F401
import orders_judged  # noqa: F401
import orders_agreed  # noqa: F401

__all__ = ["cases"]
