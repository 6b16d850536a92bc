"""Where the instances of a task lie: files that are found, read, cut into splits and named by slices.

A source is an address; what it holds are rows. Every task family whose data the user brings reads them here.
"""

from cc_ray.tasks.sources.files import fingerprint, located
from cc_ray.tasks.sources.rows import Rows, class_labels
from cc_ray.tasks.sources.slices import Slice, members
from cc_ray.tasks.sources.splitting import Cut, Sources, contents

__all__ = ["Cut", "Rows", "Slice", "Sources", "class_labels", "contents", "fingerprint", "located", "members"]
