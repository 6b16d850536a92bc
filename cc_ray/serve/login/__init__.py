"""Who is there: people by name and password or through an OpenID provider, programs by token.

A login file (`file.py`) holds who may enter as what. `gate.py` stands before everything that is served, knows each
request's person by cookie or token, and tells the application in headers that no client can send.
"""
