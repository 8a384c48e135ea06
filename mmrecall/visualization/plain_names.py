"""Names in figures as they are written."""

import matplotlib

# a decorator of what draws: a class may be called $x$, which is no formula
plain_names = matplotlib.rc_context({'text.parse_math': False})
