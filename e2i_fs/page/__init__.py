"""The catalogue page: a store as one document, and that document as a page to look at. ``e2i-fs ui`` serves or writes it.

`e2i_fs.page.collect` makes the document, `e2i_fs.page.html` the page, `e2i_fs.page.export` a file of it; these need nothing
but the base install. `e2i_fs.page.serve` needs ``pip install "e2i-fs[server]"``.
"""
