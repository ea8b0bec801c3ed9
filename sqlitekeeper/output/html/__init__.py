"""The HTML page of `keeper report`."""
