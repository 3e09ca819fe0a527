# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Sphinx: Markdown pages in the theme furo, and one small style sheet."""

import peerdata

project = "peerdata"
author = "The peerdata authors"
copyright = "The peerdata authors"
version = release = peerdata.__version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
html_theme = "furo"
html_title = f"peerdata {version}"
html_static_path = ["_static"]
html_css_files = ["peerdata.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f766e", "color-brand-content": "#0f766e"},
    "dark_css_variables": {"color-brand-primary": "#5eead4", "color-brand-content": "#5eead4"},
}
exclude_patterns = ["_build"]
