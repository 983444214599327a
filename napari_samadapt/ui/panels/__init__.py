"""One panel of the dock each."""
