"""The feature server: a store over HTTP, on Feast's own paths and on ours. ``e2i-fs serve`` runs it.

Needs ``pip install "e2i-fs[server]"``; `e2i_fs.server.app.make_app` gives the ASGI application.
"""
