"""The words of Tidegate as frozen records; no I/O. One file per noun: import from the noun's module."""
