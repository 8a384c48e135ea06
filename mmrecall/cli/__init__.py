"""The commands of ``mmrecall``, a module each; the scripts in ``tools`` call the same ones.

A command's docstring is its help, and has an example. ``add_arguments(parser)`` declares its arguments, and
``run(arguments)`` does the work.
"""
