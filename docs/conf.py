# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Sphinx: Markdown pages, nothing of our own."""

project = "peerdata"
author = "The peerdata authors"
copyright = "The peerdata authors"
extensions = ["myst_parser"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
html_theme = "alabaster"
html_theme_options = {"description": "Instances of one project find each other", "page_width": "1100px"}
exclude_patterns = ["_build"]
