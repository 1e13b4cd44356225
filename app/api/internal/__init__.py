"""`/internal`: what an operator asks and changes while the service runs. A key of its own opens it.

One module or folder for each subject, each with a blueprint; `app.api.BLUEPRINTS` lists them all with `Access.ADMIN`.
"""
