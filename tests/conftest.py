"""Forms that certify searches stay in a folder of this run: a test depends on no earlier one."""

import os
import tempfile

os.environ["INTERPOLANTS_CACHE"] = tempfile.mkdtemp(prefix="interpolants-forms-")
