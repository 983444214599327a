"""SAM, its adapters and the loop that fine-tunes them."""

import os

# oneDNN keeps 1,024 compiled operations, of every size of image there ever was; one volume needs about 250.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "512")
