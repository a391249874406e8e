"""Parameters of the calls that make a video: one table drives parsing, refusals and documentation.

`table` lists them; `kinds`, `sizes` and `structures` read values; `names` settles what was given; `refusals` says no.
"""

from api.parameters.kinds import Terms
from api.parameters.names import asks_dry_run, model_name, named, read
from api.parameters.refusals import one_of, wrong_type
from api.parameters.table import ALIASES, DEFAULT_MODEL, DEFAULT_SECONDS, PARAMETERS, STRUCTURED, Parameter, of

__all__ = [
    "ALIASES",
    "DEFAULT_MODEL",
    "DEFAULT_SECONDS",
    "PARAMETERS",
    "STRUCTURED",
    "Parameter",
    "Terms",
    "asks_dry_run",
    "model_name",
    "named",
    "of",
    "one_of",
    "read",
    "wrong_type",
]
