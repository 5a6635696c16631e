"""Pages for a browser: one offline HTML file each, light and dark, with drawings inside."""
