"""Networks of other libraries and formats: how they become networks of nnpy, and networks of nnpy theirs."""
