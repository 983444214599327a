"""SAM, its adapters and the loop that fine-tunes them."""
