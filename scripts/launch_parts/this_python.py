"""The launchers ask each Python that they find whether it will do: it then says where it is.

In syntax that every Python can parse, Python 2 too.
"""

import sys

if (3, 11) <= sys.version_info[:2] <= (3, 13) and sys.maxsize > 2**32:
    print("PYTHON=" + sys.executable)
else:
    sys.exit(9)
