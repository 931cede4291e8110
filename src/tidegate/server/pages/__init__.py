"""The web pages: one file per area of the menu, their templates, their style and their one script."""
