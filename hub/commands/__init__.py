"""The commands of ``citytwin``, one module each: ``configure(parser)`` and ``run(args) -> int``."""
