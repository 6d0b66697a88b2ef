"""``trap-manage``: one file a verb, with ``add_parser`` and a ``run`` that returns the status."""
